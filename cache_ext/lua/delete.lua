-- Removes values, and the leases with them: whoever is loading one may no longer store it.
-- KEYS  epoch, sequence, then lease and value per key
-- ARGV  fresh epoch, channel, names for the message
-- Returns how many values there were
local epoch = redis.call('GET', KEYS[1])
if not epoch or redis.call('EXISTS', KEYS[2]) == 0 then
  epoch = ARGV[1]
  redis.call('MSET', KEYS[1], epoch, KEYS[2], '0')
  redis.call('PUBLISH', ARGV[2], 'e:' .. epoch .. ':0:')
end
local sequence = redis.call('INCR', KEYS[2])
local gone = 0
for i = 3, #KEYS, 2 do
  redis.call('DEL', KEYS[i])
  gone = gone + redis.call('DEL', KEYS[i + 1])
end
redis.call('PUBLISH', ARGV[2], 'd:' .. epoch .. ':' .. sequence .. ':' .. ARGV[3])
return gone
