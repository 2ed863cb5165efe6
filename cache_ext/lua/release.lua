-- Ends leases without a value and wakes who waits for one.
-- KEYS  lease per key
-- ARGV  channel, token, names for the message
for _, lease in ipairs(KEYS) do
  if redis.call('GET', lease) == ARGV[2] then
    redis.call('DEL', lease)
  end
end
redis.call('PUBLISH', ARGV[1], 'r::0:' .. ARGV[3])
return 1
