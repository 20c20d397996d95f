-- KEYS: value, head, then the journal of each entry, then the three of each listing. ARGV: now, proposed
-- revision or nothing, what is expected (`*`, `-`, a revision, or `revision:end`), change (`c` or `l`), when
-- it ends, life of the value and of the head in ms or nothing, places, value, number of entries, then entries
-- as in notes.lua without their own now and revision, then listings as in lists.lua.
-- A head is `state:revision:ends:places`; state is L (a record) or E (erased).
-- Answers {'D', revision, places before}, {'C', live revision or nothing}, or {'P', revision} when that is
-- the revision it would have and another was proposed.
local now = tonumber(ARGV[1])
local head = redis.call('GET', KEYS[2])
local state, revision, ends, places, exactly = nil, nil, nil, '', nil
if head then
  local _, stop, s, r, e = string.find(head, '^(%a):(%d+):(%d+):')
  state, revision, ends, places = s, r, tonumber(e), string.sub(head, stop + 1)
  exactly = r .. ':' .. e
end
local live = nil
if state == 'L' and ends > now and redis.call('EXISTS', KEYS[1]) == 1 then live = revision end
local expected = ARGV[3]
local is_met = expected == '*' or (expected == '-' and not live)
  or (live and (expected == live or expected == exactly))
if not is_met or (ARGV[4] == 'l' and not live) then return { 'C', live or '' } end
local new = live
if ARGV[4] == 'c' then
  local next = now
  if revision and tonumber(revision) + 1 > now then next = tonumber(revision) + 1 end
  new = string.format('%.0f', next)
end
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
return { 'D', new, places }
