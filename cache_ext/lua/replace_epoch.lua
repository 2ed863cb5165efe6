-- Replaces a bucket's epoch, so that nothing stored so far counts; with a run id, only if the bucket last
-- lived on another server run (a restart or failover may have rolled its versions back).
-- KEYS  epoch, sequence, run
-- ARGV  fresh epoch, channel, run id or '', names for the message
-- Returns 1 if it was replaced
if ARGV[3] ~= '' then
  if redis.call('MGET', KEYS[3])[1] == ARGV[3] and redis.call('EXISTS', KEYS[1], KEYS[2]) == 2 then
    return 0
  end
  redis.call('SET', KEYS[3], ARGV[3])
end
redis.call('SET', KEYS[1], ARGV[1])
local sequence = redis.pcall('INCR', KEYS[2])
if type(sequence) ~= 'number' then
  sequence = 1  -- what was there is no number
  redis.call('SET', KEYS[2], sequence)
end
redis.call('PUBLISH', ARGV[2], 'e:' .. ARGV[1] .. ':' .. sequence .. ':' .. ARGV[4])
return 1
