-- Tells for how long the oldest event has waited that one of several groups has not ended.
-- KEYS  stream
-- ARGV  the groups
-- Returns ms, 0 if none waits or there is no such stream
local known = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if known.err then
  return 0
end
local wanted, now = {}, redis.call('TIME')
for _, group in ipairs(ARGV) do
  wanted[group] = true
end
local oldest = now[1] * 1000 + math.floor(now[2] / 1000)
local began = oldest
local function consider(place)
  oldest = math.min(oldest, tonumber(string.match(place, '^%d+')))
end
for _, about in ipairs(known) do
  local group = {}
  for i = 1, #about, 2 do
    group[about[i]] = about[i + 1]
  end
  if wanted[group['name']] then
    if group['pending'] > 0 then
      consider(redis.call('XPENDING', KEYS[1], group['name'])[2])
    end
    local waiting = redis.call('XRANGE', KEYS[1], '(' .. group['last-delivered-id'], '+', 'COUNT', 1)[1]
    if waiting then
      consider(waiting[1])
    end
  end
end
return began - oldest
