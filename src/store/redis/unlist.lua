-- Lists a name no more, unless a newer revision has listed it since. KEYS as in list.lua. ARGV: name, the
-- revision that listed it no more.
local by = redis.call('HGET', KEYS[3], ARGV[1])
if by and tonumber(by) > tonumber(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
return 1
