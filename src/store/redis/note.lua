-- Writes entries of journals. A journal is a hash: `m` holds what is known of it as a whole, `e<n>` its
-- nth entry as `revision:length of name:name value`, `n<name>` the number of the entry of that name. The
-- first FIRST entries stay; of those after them the oldest goes when there are too many.
local MAX_ENTRIES, MAX_BYTES, FIRST = 256, 98304, 128

-- The meta field: number of the next entry, number of the oldest of those that may go, entries that are
-- gone, bytes, changes, and until when.
local function whole(journal, now)
  local m = redis.call('HGET', journal, 'm')
  if m then
    local next, oldest, gone, bytes, changes, ends = string.match(m, '^(%d+):(%d+):(%d+):(%d+):(%d+):(%d+)$')
    if next and tonumber(ends) > now then
      return { next = tonumber(next), oldest = tonumber(oldest), gone = tonumber(gone),
        bytes = tonumber(bytes), changes = tonumber(changes), ends = ends }
    end
    redis.call('DEL', journal)
    return { next = 0, oldest = FIRST, gone = 0, bytes = 0, changes = tonumber(changes) or 0 }
  end
  return { next = 0, oldest = FIRST, gone = 0, bytes = 0, changes = 0 }
end

local function parse(entry)
  local _, stop, length = string.find(entry, '^%d+:(%d+):')
  return string.sub(entry, stop + 1, stop + length), string.len(entry) - stop
end

local function drop(journal, w, at)
  local entry = redis.call('HGET', journal, 'e' .. at)
  if entry then
    local name, bytes = parse(entry)
    redis.call('HDEL', journal, 'e' .. at)
    if name ~= '' then redis.call('HDEL', journal, 'n' .. name) end
    w.bytes = w.bytes - bytes - 16
  end
  w.gone = w.gone + 1
end

local function count(w)
  if w.next <= FIRST then return w.next end
  return FIRST + w.next - w.oldest
end

-- One entry: `again` is k (the first stays) or r (the last does); `at_least` is 1 when the journal may be
-- kept longer than `ends`. Answers 1 when its name is new.
local function note(journal, now, revision, name, again, value, at_least, ends, life)
  local w = whole(journal, now)
  local entry = revision .. ':' .. string.len(name) .. ':' .. name .. value
  local size = string.len(name) + string.len(value)
  local before = name ~= '' and redis.call('HGET', journal, 'n' .. name)
  if before then
    if again == 'r' then
      local _, bytes = parse(redis.call('HGET', journal, 'e' .. before))
      redis.call('HSET', journal, 'e' .. before, entry)
      w.bytes = w.bytes - bytes + size
    end
  else
    redis.call('HSET', journal, 'e' .. w.next, entry)
    if name ~= '' then redis.call('HSET', journal, 'n' .. name, w.next) end
    w.next = w.next + 1
    w.bytes = w.bytes + size + 16
    while count(w) > MAX_ENTRIES or (w.bytes > MAX_BYTES and count(w) > 0) do
      if count(w) > FIRST then
        drop(journal, w, w.oldest)
        w.oldest = w.oldest + 1
      else
        w.next = w.next - 1
        drop(journal, w, w.next)
      end
    end
  end
  local longer = true
  if at_least == '1' and w.ends and tonumber(w.ends) > tonumber(ends) then
    ends, longer = w.ends, false
  end
  redis.call('HSET', journal, 'm', string.format('%d:%d:%d:%d:%d:%s', w.next, w.oldest, w.gone, w.bytes,
    w.changes + 1, ends))
  if longer then
    if life == '' then redis.call('PERSIST', journal) else redis.call('PEXPIRE', journal, life) end
  end
  if before then return 0 end
  return 1
end
