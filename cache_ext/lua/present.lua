-- Keeps what a process says of itself, and forgets what those said who have been silent for long.
-- KEYS  what they say, when they said it last
-- ARGV  the process, what it says ('' if it leaves), ms after which one counts as gone
local kinds = { 'hash', 'zset' }
for i = 1, 2 do
  if redis.call('TYPE', KEYS[i]).ok ~= kinds[i] then
    redis.call('DEL', KEYS[i]) -- whatever it is
  end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[2] == '' then
  redis.call('ZADD', KEYS[2], 0, ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('ZADD', KEYS[2], now, ARGV[1])
end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3], 'LIMIT', 0, 100)) do
  redis.call('HDEL', KEYS[1], gone)
  redis.call('ZREM', KEYS[2], gone)
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return now
