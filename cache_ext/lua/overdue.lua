-- Takes purges that whoever owes them did not do in time; what is not done then is overdue again later.
-- KEYS  debts, by when they are overdue
-- ARGV  how many, ms until they are overdue again, ms that any may be ahead, ms after which one is forgotten
-- Returns the debts
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.pcall('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
if found.err then
  return {}
end
if #found == 0 then  -- the clock was set back: what is farther ahead than can be was noted before
  found = redis.call('ZRANGEBYSCORE', KEYS[1], now + ARGV[3], '+inf', 'LIMIT', 0, ARGV[1])
end
for _, debt in ipairs(found) do
  local due = tonumber(string.match(debt, '^............(%d+):'))
  if due and now <= due + ARGV[4] then
    redis.call('ZADD', KEYS[1], now + ARGV[2], debt)
  else
    redis.call('ZREM', KEYS[1], debt)
  end
end
return found
