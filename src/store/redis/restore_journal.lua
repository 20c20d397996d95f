-- Puts a journal back as it was. KEYS: the journal. ARGV: version it must have or nothing (then it must
-- hold no more than this one), entries that are gone, until when, life, bytes, then of each entry its name
-- and itself as note.lua keeps it. Answers 1 when it did.
local m = redis.call('HGET', KEYS[1], 'm')
local changes = 0
local count = (#ARGV - 5) / 2
if m then
  local next, oldest, gone, _, had = string.match(m, '^(%d+):(%d+):(%d+):(%d+):(%d+):')
  changes = tonumber(had)
  if ARGV[1] ~= '' and ARGV[1] ~= had then return 0 end
  local there = tonumber(next)
  if there > 128 then there = 128 + there - tonumber(oldest) end
  if ARGV[1] == '' and there + tonumber(gone) >= count + tonumber(ARGV[2]) then return 0 end
elseif ARGV[1] ~= '' then
  return 0
end
redis.call('DEL', KEYS[1])
for i = 1, count do
  local name, entry = ARGV[4 + i * 2], ARGV[5 + i * 2]
  redis.call('HSET', KEYS[1], 'e' .. (i - 1), entry)
  if name ~= '' then redis.call('HSET', KEYS[1], 'n' .. name, i - 1) end
end
redis.call('HSET', KEYS[1], 'm', string.format('%d:%d:%s:%s:%d:%s', count, 128, ARGV[2], ARGV[5], changes + 1,
  ARGV[3]))
if ARGV[4] == '' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return 1
