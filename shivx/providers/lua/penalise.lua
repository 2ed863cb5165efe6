-- Push the next slot of a source out, because it said that it was asked too often.
-- KEYS[1]  the moment from which the source's next call is free, Unix microseconds
-- ARGV     how far from now, at most how far (us)
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ahead = math.min(tonumber(ARGV[1]), tonumber(ARGV[2]))

if redis.call('TYPE', KEYS[1]).ok ~= 'string' then
  redis.call('DEL', KEYS[1])
end
local free_from = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
-- Such a number is not ours, or this clock was set back.
if free_from ~= free_from or free_from > now + 2 * tonumber(ARGV[2]) then
  free_from = 0
end
free_from = math.max(free_from, now + ahead)
redis.call('SET', KEYS[1], string.format('%.0f', free_from), 'PX', string.format('%.0f', math.ceil((free_from - now) / 1000) + 1))
return 1
