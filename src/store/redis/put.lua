-- KEYS: value, head, then the journal of each entry, then the three of each listing. ARGV: now, proposed
-- revision or nothing, what is expected (`*`, `-`, a revision, or `revision:end`), change (`c` or `l`), when
-- it ends, life of the value and of the head in ms or nothing, places, value, number of entries, then entries
-- as in notes.lua without their own now and revision, then listings as in lists.lua.
-- Answers {'D', revision, places before}, {'C', live revision or nothing}, or {'P', revision} when that is
-- the revision it would have and another was proposed.
local now = tonumber(ARGV[1])
local there = known(KEYS[1], KEYS[2], now)
if not is_met(there, ARGV[3]) or (ARGV[4] == 'l' and not there.live) then return { 'C', there.live or '' } end
local new = there.live
if ARGV[4] == 'c' then new = next_revision(there, now) end
if ARGV[2] ~= '' and ARGV[2] ~= new then return { 'P', new } end
local function keep(key, value, life)
  if life == '' then redis.call('SET', key, value) else redis.call('SET', key, value, 'PX', life) end
end
local entries = tonumber(ARGV[10])
local key, arg = 2 + entries, 10 + entries * 6
while key < #KEYS do
  list(KEYS[key + 1], KEYS[key + 2], KEYS[key + 3], ARGV[arg + 1], ARGV[arg + 2], ARGV[arg + 3])
  key, arg = key + 3, arg + 3
end
keep(KEYS[1], ARGV[9], ARGV[6])
keep(KEYS[2], 'L:' .. new .. ':' .. ARGV[5] .. ':' .. ARGV[8], ARGV[7])
for i = 1, entries do
  local a = 10 + (i - 1) * 6
  note(KEYS[2 + i], now, new, ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5], ARGV[a + 6])
end
return { 'D', new, there.places }
