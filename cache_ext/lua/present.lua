-- Keeps what a process says of itself, if it can, and forgets what those said who have been silent for long.
-- KEYS  what they say, when they said it last
-- ARGV  the process, what it says ('' if it leaves), ms after which one counts as gone
-- Returns the time, Unix ms.
local kinds = { 'hash', 'zset' }
for i = 1, 2 do
  if redis.pcall('TYPE', KEYS[i]).ok ~= kinds[i] then
    redis.pcall('DEL', KEYS[i]) -- whatever it is
  end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[2] == '' then
  redis.pcall('HDEL', KEYS[1], ARGV[1])
  redis.pcall('ZREM', KEYS[2], ARGV[1])
else
  redis.pcall('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.pcall('ZADD', KEYS[2], now, ARGV[1])
end
for _, gone in ipairs(redis.pcall('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3], 'LIMIT', 0, 100)) do
  redis.pcall('HDEL', KEYS[1], gone)
  redis.pcall('ZREM', KEYS[2], gone)
end
redis.pcall('PEXPIRE', KEYS[1], ARGV[3])
redis.pcall('PEXPIRE', KEYS[2], ARGV[3])
return now
