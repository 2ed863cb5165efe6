-- Stores a session if it is as its writer knew it, perhaps under a new name, and ends what is too many.
-- KEYS  where it lies, where it is to lie, list of the account's sessions, census of the bucket,
--       prefix of sessions' keys, whose slot it shares
-- ARGV  first bytes as the writer knew them ('' for a new one), how many, longest session in bytes, session,
--       life ms, old name, new name, most sessions of an account (0: nobody's), life ms of the list
-- Returns {1}, {0} if it is gone, {-1, session} if it is another by now
local kept = redis.pcall('GETRANGE', KEYS[1], 0, ARGV[3])
if type(kept) ~= 'string' then
  kept = ''
end
if kept:sub(1, tonumber(ARGV[2])) ~= ARGV[1] then
  if kept == '' then
    return {0}
  end
  return {-1, kept}
end

local function of_type(key, kind)
  if redis.call('TYPE', key).ok ~= kind then
    redis.call('DEL', key)
  end
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
of_type(KEYS[3], 'list')
of_type(KEYS[4], 'zset')
if KEYS[1] ~= KEYS[2] then
  redis.call('DEL', KEYS[1])
  redis.call('LREM', KEYS[3], 0, ARGV[6])
  redis.call('ZREM', KEYS[4], ARGV[6])
end
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5])
redis.call('ZADD', KEYS[4], now + ARGV[5], ARGV[7])
redis.call('PEXPIRE', KEYS[4], ARGV[9])
local most = tonumber(ARGV[8])
if most == 0 then
  return {1}
end
if not redis.call('LPOS', KEYS[3], ARGV[7]) then
  redis.call('RPUSH', KEYS[3], ARGV[7])
end
local alive = {}
for _, name in ipairs(redis.call('LRANGE', KEYS[3], -4 * most, -1)) do
  if redis.call('EXISTS', KEYS[5] .. name) == 1 then
    alive[#alive + 1] = name
  end
end
while #alive > most do
  local oldest = table.remove(alive, 1)
  redis.call('DEL', KEYS[5] .. oldest)
  redis.call('ZREM', KEYS[4], oldest)
end
redis.call('DEL', KEYS[3])
redis.call('RPUSH', KEYS[3], unpack(alive))
redis.call('PEXPIRE', KEYS[3], ARGV[9])
return {1}
