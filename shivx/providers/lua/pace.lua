-- Take the next slot of a source, unless it comes too late.
-- KEYS[1]  the moment from which the source's next call is free, Unix microseconds
-- ARGV     longest wait, cost of this call, what idling may save up, furthest believable moment from now (all us)
-- Returns  {1, wait} if the slot was taken, {0, wait} if it comes too late (us)
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local longest, cost, saved, furthest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

if redis.call('TYPE', KEYS[1]).ok ~= 'string' then
  redis.call('DEL', KEYS[1])
end
local free_from = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
-- Such a number is not ours, or this clock was set back.
if free_from ~= free_from or free_from > now + 2 * furthest then
  free_from = 0
end

local slot = math.max(free_from, now - saved)
local wait = math.max(0, slot - now)
if wait > longest then
  return {0, wait}
end
free_from = slot + cost
-- Once it lies so far back that idling has saved up all it may, it need not be remembered.
local milliseconds = math.ceil((free_from + saved - now) / 1000) + 1
redis.call('SET', KEYS[1], string.format('%.0f', free_from), 'PX', string.format('%.0f', math.max(1, milliseconds)))
return {1, wait}
