-- KEYS: of each name the three of its set. ARGV: of each the name, life and revision of list.lua.
for i = 0, #KEYS / 3 - 1 do
  list(KEYS[i * 3 + 1], KEYS[i * 3 + 2], KEYS[i * 3 + 3], ARGV[i * 3 + 1], ARGV[i * 3 + 2], ARGV[i * 3 + 3])
end
return 1
