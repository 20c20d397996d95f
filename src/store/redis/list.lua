-- Lists a name in a set: the names in byte order, their ends by Redis's own clock, the revisions that listed
-- them. A revision is kept for names that come back after they went: see unlist.lua. What has ended goes, a
-- few at a time, so that nobody sweeps. `life` is in ms, or nothing: for ever; `revision` or nothing.
local function list(listed, ends, by, name, life, revision)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local forever = life == ''
  local is_new = redis.call('EXISTS', listed) == 0
  redis.call('ZADD', listed, 0, name)
  redis.call('ZADD', ends, 'GT', forever and '+inf' or now + life, name)
  if revision ~= '' then
    local before = redis.call('HGET', by, name)
    if not before or tonumber(before) < tonumber(revision) then redis.call('HSET', by, name, revision) end
  end
  for _, over in ipairs(redis.call('ZRANGE', ends, '-inf', now, 'BYSCORE', 'LIMIT', 0, 4)) do
    redis.call('ZREM', listed, over)
    redis.call('ZREM', ends, over)
    redis.call('HDEL', by, over)
  end
  local left = redis.call('PTTL', listed)
  for _, key in ipairs({ listed, ends, by }) do
    if forever then
      redis.call('PERSIST', key)
    elseif is_new or (left >= 0 and left < tonumber(life)) then
      redis.call('PEXPIRE', key, life)
    elseif left >= 0 and redis.call('PTTL', key) == -1 then
      redis.call('PEXPIRE', key, left)
    end
  end
end
