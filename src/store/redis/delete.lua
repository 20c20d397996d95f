-- KEYS: value, head, then the journal of each entry. ARGV: now, what is expected, when the tombstone is
-- forgotten, its life in ms, then entries as in put.lua. Answers as put.lua does.
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
if not live or ARGV[2] == '-' or (ARGV[2] ~= '*' and ARGV[2] ~= live and ARGV[2] ~= exactly) then return { 'C', live or '' } end
local next = now
if tonumber(live) + 1 > now then next = tonumber(live) + 1 end
local new = string.format('%.0f', next)
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], 'E:' .. new .. ':' .. ARGV[3] .. ':', 'PX', ARGV[4])
for i = 3, #KEYS do
  local a = 4 + (i - 3) * 6
  note(KEYS[i], now, new, ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5], ARGV[a + 6])
end
return { 'D', new, places }
