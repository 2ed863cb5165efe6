-- Prolongs leases that are still the caller's.
-- KEYS  lease per key
-- ARGV  token, lease ms
for _, lease in ipairs(KEYS) do
  if redis.call('GET', lease) == ARGV[1] then
    redis.call('PEXPIRE', lease, ARGV[2])
  end
end
return 1
