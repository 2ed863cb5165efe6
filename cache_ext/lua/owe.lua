-- Notes the purges that a process owes a CDN: of each name one now and one later.
-- KEYS  debts, by when they are overdue
-- ARGV  most debts, the name of everything, ms from due to overdue, ms that fall together, life of the key ms,
--       who owes, ms to the later purge, names
-- Returns {due now ms, due later ms, 1 if everything is owed instead of the names}
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then
  redis.call('DEL', KEYS[1])
end
local time, grain = redis.call('TIME'), tonumber(ARGV[4])
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local full = redis.call('ZCARD', KEYS[1]) + 2 * (#ARGV - 7) > tonumber(ARGV[1])
local reply = {}
for _, delay in ipairs({0, tonumber(ARGV[7])}) do
  local due = math.ceil((now + delay) / grain) * grain
  local told = string.format('%.0f', due) .. ':' .. ARGV[6]
  if full then
    redis.call('ZADD', KEYS[1], due + ARGV[3], ARGV[2] .. told)
  else
    for i = 8, #ARGV do
      redis.call('ZADD', KEYS[1], due + ARGV[3], ARGV[i] .. told)
    end
  end
  reply[#reply + 1] = due
end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
reply[3] = full and 1 or 0
return reply
