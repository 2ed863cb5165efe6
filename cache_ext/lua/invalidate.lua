-- Gives tags new versions, "<hard>" or "<hard>:<soft>": the sequence numbers that last invalidated them.
-- A version that is not there needs none: it is made anew at a later position.
-- KEYS  epoch, sequence, then a version per tag
-- ARGV  fresh epoch, channel, names for the message, '1' softly or '0'
-- Returns {epoch, sequence}, which are the new version of each
local epoch, sequence = unpack(redis.call('MGET', KEYS[1], KEYS[2]))  -- of another type: as if absent
if not epoch or not string.match(sequence or '', '^%d+$') or #sequence > 15 then
  epoch = ARGV[1]
  redis.call('MSET', KEYS[1], epoch, KEYS[2], '0')
  redis.call('PUBLISH', ARGV[2], 'e:' .. epoch .. ':0:')
end
local soft = ARGV[4] == '1'
sequence = redis.call('INCR', KEYS[2])
for i = 3, #KEYS do
  local hard = soft and string.match(redis.call('MGET', KEYS[i])[1] or '', '^%d+')
  redis.call('SET', KEYS[i], hard and hard .. ':' .. sequence or sequence, 'XX', 'KEEPTTL')
end
redis.call('PUBLISH', ARGV[2], (soft and 's:' or 'i:') .. epoch .. ':' .. sequence .. ':' .. ARGV[3])
if soft then
  -- Older programs do not know 's'. That they missed something they notice by the next number.
  redis.call('PUBLISH', ARGV[2], 'd:' .. epoch .. ':' .. redis.call('INCR', KEYS[2]) .. ':')
end
return {epoch, sequence}
