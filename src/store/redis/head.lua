-- What is known of a record: its head, taken apart, and its revision if it lives at `now`. A head is
-- `state:revision:ends:places`; state is L (a record) or E (erased).
local function known(value, head, now)
  local found = redis.call('GET', head)
  if not found then return { places = '' } end
  local _, stop, state, revision, ends = string.find(found, '^(%a):(%d+):(%d+):')
  local is_live = state == 'L' and tonumber(ends) > now and redis.call('EXISTS', value) == 1
  return { revision = revision, places = string.sub(found, stop + 1), live = is_live and revision or nil,
    exactly = revision .. ':' .. ends }
end

-- Whether a record that is known so is what was expected: `*`, `-`, a revision, or `revision:end`.
local function is_met(there, expected)
  if expected == '*' then return true end
  if expected == '-' then return not there.live end
  return there.live and (expected == there.live or expected == there.exactly)
end

-- The revision of the next write over it.
local function next_revision(there, now)
  local next = now
  if there.revision and tonumber(there.revision) + 1 > now then next = tonumber(there.revision) + 1 end
  return string.format('%.0f', next)
end
