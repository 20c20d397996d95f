-- Reads one of COUNT handoffs, whichever: `wrk -s get.lua URL -- COUNT`.
local count
function init(args)
  count = tonumber(args[1])
  math.randomseed(1)
end
function request()
  return wrk.format("GET", string.format("/v1/handoff_state?id=CA%032x", math.random(count)))
end
