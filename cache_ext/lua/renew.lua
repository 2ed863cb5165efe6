-- Prolongs leases that are still the caller's.
-- KEYS  lease per key
-- ARGV  token, lease ms
for _, lease in ipairs(KEYS) do
  if redis.pcall('GETRANGE', lease, 0, 7) == ARGV[1] then
    redis.call('PEXPIRE', lease, ARGV[2])
  end
end
return 1
