-- Gives tags new versions. A version that is not there needs none: it is made anew at a later position.
-- KEYS  epoch, sequence, then a version per tag
-- ARGV  fresh epoch, channel, names for the message
-- Returns {epoch, sequence}, which are the new version of each
local epoch = redis.call('GET', KEYS[1])
if not epoch or redis.call('EXISTS', KEYS[2]) == 0 then
  epoch = ARGV[1]
  redis.call('MSET', KEYS[1], epoch, KEYS[2], '0')
  redis.call('PUBLISH', ARGV[2], 'e:' .. epoch .. ':0:')
end
local sequence = redis.call('INCR', KEYS[2])
for i = 3, #KEYS do
  redis.call('SET', KEYS[i], sequence, 'XX', 'KEEPTTL')
end
redis.call('PUBLISH', ARGV[2], 'i:' .. epoch .. ':' .. sequence .. ':' .. ARGV[3])
return {epoch, sequence}
