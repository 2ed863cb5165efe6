-- Ends sessions of an account, or one of nobody's.
-- KEYS  list of the account's sessions, census of the bucket, prefix of sessions' keys, whose slot it shares
-- ARGV  name of one that stays or '', names; none: all that the list has
-- Returns how many there were
local function ours(reply)
  return type(reply) == 'table' and not reply.err and reply or {}
end
local names = {unpack(ARGV, 2)}
if #names == 0 then
  names = ours(redis.pcall('LRANGE', KEYS[1], 0, 99))
end
local ended = 0
for _, name in ipairs(names) do
  if name ~= ARGV[1] then
    ended = ended + redis.call('DEL', KEYS[3] .. name)
    redis.pcall('LREM', KEYS[1], 0, name)
    redis.pcall('ZREM', KEYS[2], name)
  end
end
return ended
