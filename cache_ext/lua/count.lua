-- Adds what a process counted to a minute's counts, once, however often it is told.
-- KEYS  the minute's counts
-- ARGV  field that has the number of the process' last packet, number of this one, ms for which the counts
--       are kept, then per count: field, how much to add
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then
  redis.call('DEL', KEYS[1]) -- whatever it is
end
local last = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '')
if not last or last < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  for at = 4, #ARGV, 2 do
    redis.pcall('HINCRBY', KEYS[1], ARGV[at], ARGV[at + 1])
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
