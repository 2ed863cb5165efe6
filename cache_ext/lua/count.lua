-- Adds what a process counted to a minute's counts, once, however often it is told.
-- KEYS  the minute's counts
-- ARGV  field that has the number of the process' last packet, number of this one, ms for which the counts
--       are kept, then per count: field, how much to add
-- Returns whether it is counted, 1 or 0: there is no room, or nothing may be written here.
if redis.pcall('TYPE', KEYS[1]).ok ~= 'hash' then
  redis.pcall('DEL', KEYS[1]) -- whatever it is
end
local last = redis.pcall('HGET', KEYS[1], ARGV[1])
last = type(last) == 'string' and tonumber(last)
if not last or last < tonumber(ARGV[2]) then
  if type(redis.pcall('HSET', KEYS[1], ARGV[1], ARGV[2])) == 'table' then
    return 0
  end
  for at = 4, #ARGV, 2 do
    redis.pcall('HINCRBY', KEYS[1], ARGV[at], ARGV[at + 1])
  end
end
redis.pcall('PEXPIRE', KEYS[1], ARGV[3])
return 1
