-- Puts a record back as it was. KEYS: value, head. ARGV: revision, head or nothing (then nothing is
-- compared), value before or nothing, new head, life of the head, value or nothing, life of the value.
-- Answers 1 when it did.
local function keep(key, value, life)
  if life == '' then redis.call('SET', key, value) else redis.call('SET', key, value, 'PX', life) end
end
local head = redis.call('GET', KEYS[2])
if ARGV[2] ~= '' then
  if head ~= ARGV[2] or (redis.call('GET', KEYS[1]) or '') ~= ARGV[3] then return 0 end
elseif head then
  local _, _, there = string.find(head, '^%a:(%d+):')
  if there and tonumber(there) >= tonumber(ARGV[1]) then return 0 end
end
keep(KEYS[2], ARGV[4], ARGV[5])
if ARGV[6] == '' then redis.call('DEL', KEYS[1]) else keep(KEYS[1], ARGV[6], ARGV[7]) end
return 1
