-- Every request another call's handoff of 2 KB: SIDs in no order, as Twilio makes them.
local thread_id = 0
function setup(thread) thread:set("id", thread_id); thread_id = thread_id + 1 end
local n = 0
local run = os.time() % 100000
local body = '{"data":{"pad":"' .. string.rep("x", 2048 - 10) .. '"}}'
function init() math.randomseed(os.time() + id * 7919) end
request = function()
  n = n + 1
  local sid = string.format("CA%08x%08x%08x%08x", math.random(0, 2^31 - 1), run, id, n)
  return wrk.format("PUT", "/v1/handoff_state?id=" .. sid, nil, body)
end
