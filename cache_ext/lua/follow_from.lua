-- Lets a group go on behind a place, whatever became of the group or of the stream.
-- KEYS  stream, number of the last event taken
-- ARGV  group, place, number of the event there
-- Returns 1, or text: what is wrong with the stream
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[2], 'MKSTREAM')
if made.err then
  made = redis.pcall('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[2])
end
if made.err then
  return made.err
end
redis.call('SET', KEYS[2], ARGV[3])
return 1
