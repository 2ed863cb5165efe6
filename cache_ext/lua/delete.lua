-- Removes values, and the leases with them: whoever is loading one may no longer store it.
-- KEYS  epoch, sequence, then lease and value per key
-- ARGV  fresh epoch, channel, names for the message
-- Returns how many values there were
local epoch, sequence = unpack(redis.call('MGET', KEYS[1], KEYS[2]))  -- of another type: as if absent
if not epoch or not string.match(sequence or '', '^%d+$') or #sequence > 15 then
  epoch = ARGV[1]
  redis.call('MSET', KEYS[1], epoch, KEYS[2], '0')
  redis.call('PUBLISH', ARGV[2], 'e:' .. epoch .. ':0:')
end
sequence = redis.call('INCR', KEYS[2])
local gone = 0
for i = 3, #KEYS, 2 do
  redis.call('DEL', KEYS[i])
  gone = gone + redis.call('DEL', KEYS[i + 1])
end
redis.call('PUBLISH', ARGV[2], 'd:' .. epoch .. ':' .. sequence .. ':' .. ARGV[3])
return gone
