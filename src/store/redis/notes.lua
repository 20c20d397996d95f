-- KEYS: the journal of each entry. ARGV: now, revision, then of each entry name, again, value, at_least,
-- ends, life.
local new = {}
for i = 1, #KEYS do
  local a = 2 + (i - 1) * 6
  new[i] = note(KEYS[i], tonumber(ARGV[1]), ARGV[2], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4],
    ARGV[a + 5], ARGV[a + 6])
end
return new
