-- Reads a session, and lets it live on for another idle time.
-- KEYS  session
-- ARGV  idle time ms, longest session in bytes
-- Returns {time s, time us, session or ''}
local now = redis.call('TIME')
local kept = redis.pcall('GETRANGE', KEYS[1], 0, ARGV[2])
if type(kept) ~= 'string' then
  kept = ''  -- of another type: not ours
elseif kept ~= '' then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return {now[1], now[2], kept}
