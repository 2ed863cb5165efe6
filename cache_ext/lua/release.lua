-- Ends leases without a value and wakes who waits for one.
-- KEYS  lease per key
-- ARGV  channel, token, names for the message
-- Returns how many were still the caller's
local ended = 0
for _, lease in ipairs(KEYS) do
  if redis.pcall('GETRANGE', lease, 0, 7) == ARGV[2] then
    ended = ended + redis.call('DEL', lease)
  end
end
if ended > 0 then
  redis.call('PUBLISH', ARGV[1], 'r::0:' .. ARGV[3])
end
return ended
