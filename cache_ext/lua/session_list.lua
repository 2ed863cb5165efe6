-- Reads all sessions of an account.
-- KEYS  list of the account's sessions, prefix of sessions' keys, whose slot it shares
-- ARGV  most of them, longest session in bytes
-- Returns {time s, time us, name, session, ...}
local now = redis.call('TIME')
local found = {now[1], now[2]}
local names = redis.pcall('LRANGE', KEYS[1], -ARGV[1], -1)
if names.err then
  return found
end
for _, name in ipairs(names) do
  local kept = redis.pcall('GETRANGE', KEYS[2] .. name, 0, ARGV[2])
  if type(kept) == 'string' and kept ~= '' then
    found[#found + 1] = name
    found[#found + 1] = kept
  end
end
return found
