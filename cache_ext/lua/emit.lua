-- Adds an event to the stream, unless its id was seen before, and wakes who has hooks.
-- KEYS  stream, mark of the id, number of the newest event
-- ARGV  channel, seconds to remember the id, longest stream, event's name, id, data, '1' if what it
--       invalidates is invalidated already, names for the message
-- Returns 1, 0 if the id was seen before, or text: what is wrong with the stream
local number = string.format('%.0f', (tonumber(redis.call('MGET', KEYS[3])[1] or '') or 0) + 1)
if not redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[2]) then
  return 0
end
local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*',
  'n', ARGV[4], 'i', ARGV[5], 'd', ARGV[6], 'v', ARGV[7], 's', number)
if added.err then
  redis.call('DEL', KEYS[2])
  return added.err
end
redis.call('SET', KEYS[3], number)
redis.call('PUBLISH', ARGV[1], 'h::0:' .. ARGV[8])
return 1
