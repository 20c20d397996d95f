-- Lists a name in a set. KEYS: the names in byte order, their ends by Redis's own clock, the revisions that
-- listed them. ARGV: name, life in ms or nothing, revision or nothing. A revision is kept for names that
-- come back after they went: see unlist.lua. What has ended goes, a few at a time, so that nobody sweeps.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local forever = ARGV[2] == ''
local is_new = redis.call('EXISTS', KEYS[1]) == 0
redis.call('ZADD', KEYS[1], 0, ARGV[1])
redis.call('ZADD', KEYS[2], 'GT', forever and '+inf' or now + ARGV[2], ARGV[1])
if ARGV[3] ~= '' then
  local before = redis.call('HGET', KEYS[3], ARGV[1])
  if not before or tonumber(before) < tonumber(ARGV[3]) then redis.call('HSET', KEYS[3], ARGV[1], ARGV[3]) end
end
for _, name in ipairs(redis.call('ZRANGE', KEYS[2], '-inf', now, 'BYSCORE', 'LIMIT', 0, 4)) do
  redis.call('ZREM', KEYS[1], name)
  redis.call('ZREM', KEYS[2], name)
  redis.call('HDEL', KEYS[3], name)
end
local left = redis.call('PTTL', KEYS[1])
for _, key in ipairs(KEYS) do
  if forever then
    redis.call('PERSIST', key)
  elseif is_new or (left >= 0 and left < tonumber(ARGV[2])) then
    redis.call('PEXPIRE', key, ARGV[2])
  elseif left >= 0 and redis.call('PTTL', key) == -1 then
    redis.call('PEXPIRE', key, left)
  end
end
return 1
