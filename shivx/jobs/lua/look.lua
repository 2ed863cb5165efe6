-- What is known of a job; cancelled before, if that is asked for and it has neither ended nor come too far.
-- KEYS[1]  who does the thing now: the id of a job
-- KEYS[2]  the job
-- ARGV     '1' to cancel it
-- Returns  {who does the thing now or '', field, value, ...}; no field if there is no such job
local holder = redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('GET', KEYS[1]) or ''
if redis.call('TYPE', KEYS[2]).ok ~= 'hash' then
  return {holder}
end
if ARGV[1] == '1' then
  local found = redis.call('HMGET', KEYS[2], 'status', 'settled')
  if (found[1] == 'queued' or found[1] == 'running') and not found[2] then
    redis.call('HSET', KEYS[2], 'status', 'cancelled')
  end
end
return {holder, unpack(redis.call('HGETALL', KEYS[2]))}
