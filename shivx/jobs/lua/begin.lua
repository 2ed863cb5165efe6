-- Begin a job unless one for the same thing runs.
-- KEYS[1]  who does the thing now: the id of a job
-- KEYS[2]  the job
-- ARGV     its id, how long it may be silent, how long it is remembered (ms)
-- Returns  the id of the job that runs: this one, or another
kept(KEYS[1], 'string')
kept(KEYS[2], 'hash')
local holder = redis.call('GET', KEYS[1])
if holder then
  return holder
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('HSET', KEYS[2], 'status', 'queued', 'progress', '0')
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return ARGV[1]
