-- Sets for how long an event that was taken counts as untouched; nothing if it is not taken any more.
-- KEYS  stream
-- ARGV  group, taker, place of the event, ms
redis.pcall('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'IDLE', ARGV[4], 'JUSTID')
return 1
