-- Stores what was loaded, but only under leases that are still the caller's.
-- KEYS  lease and value per key
-- ARGV  channel, token, names for the message, then life ms and bytes per key
-- Returns {1 stored or 0 refused, per key}
local stored = {}
for i = 1, #KEYS, 2 do
  local kept = 0
  if redis.pcall('GETRANGE', KEYS[i], 0, 7) == ARGV[2] then
    redis.call('SET', KEYS[i + 1], ARGV[i + 4], 'PX', ARGV[i + 3])
    redis.call('DEL', KEYS[i])
    kept = 1
  end
  stored[#stored + 1] = kept
end
redis.call('PUBLISH', ARGV[1], 'f:' .. ARGV[2] .. ':0:' .. ARGV[3])
return stored
