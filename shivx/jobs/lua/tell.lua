-- What the process of a job says of it, which keeps the job alive; or its last word.
-- KEYS[1]  who does the thing now: the id of a job
-- KEYS[2]  the job
-- ARGV     its id, how long it may be silent, how long it is remembered (ms), '1' if it is over, field, value, ...
-- Returns  'ok'; or, and then nothing was changed, 'cancelled', or 'lost' if another job has begun meanwhile
kept(KEYS[1], 'string')
kept(KEYS[2], 'hash')
local id, over = ARGV[1], ARGV[4] == '1'
local holder = redis.call('GET', KEYS[1])
local cancelled = redis.call('HGET', KEYS[2], 'status') == 'cancelled'
if holder and holder ~= id then
  return cancelled and 'cancelled' or 'lost'
end
if over then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], id, 'PX', ARGV[2])
end
if cancelled then
  return 'cancelled'
end
redis.call('HSET', KEYS[2], unpack(ARGV, 5))
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 'ok'
