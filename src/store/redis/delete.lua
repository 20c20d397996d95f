-- KEYS: value, head, then the journal of each entry. ARGV: now, what is expected, when the tombstone is
-- forgotten, its life in ms, then entries as in put.lua. Answers as put.lua does.
local now = tonumber(ARGV[1])
local there = known(KEYS[1], KEYS[2], now)
if not there.live or not is_met(there, ARGV[2]) then return { 'C', there.live or '' } end
local new = next_revision(there, now)
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], 'E:' .. new .. ':' .. ARGV[3] .. ':', 'PX', ARGV[4])
for i = 3, #KEYS do
  local a = 4 + (i - 3) * 6
  note(KEYS[i], now, new, ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5], ARGV[a + 6])
end
return { 'D', new, there.places }
