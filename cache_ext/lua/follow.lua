-- Takes events whose tags have still to be invalidated; passes over those whose emitter saw to that.
-- Where events may have been lost, the group ends; follow_from.lua makes it anew.
-- KEYS  stream, number of the newest event, number of the last one taken
-- ARGV  group, taker, ms untouched after which an event is due, events to look at
-- Returns {0, 1 if there may be more, {{place, {field, value, ...}}, ...}};
--         {1, number of the newest event, place of the newest event} if events may have been lost;
--         {2, '0', '0-0'} if nobody has taken any yet, and none is missing;
--         or text: what is wrong with the stream
local newest = tonumber(redis.call('MGET', KEYS[2])[1] or '') or 0
local last = tonumber(redis.call('MGET', KEYS[3])[1] or '')
if not last and redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then
  return {2, '0', '0-0'}
end
local function lost()
  redis.call('DEL', KEYS[3])
  redis.pcall('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
  local place, about = '0-0', redis.pcall('XINFO', 'STREAM', KEYS[1])
  if about.err and redis.call('EXISTS', KEYS[1]) == 1 then
    return about.err
  end
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then
      place = about[i + 1]
    end
  end
  return {1, string.format('%.0f', newest), place}
end
local due = redis.pcall('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], '0-0', 'COUNT', ARGV[4])
if not last and due.err then
  local first = redis.pcall('XRANGE', KEYS[1], '-', '+', 'COUNT', '1')[1]
  if first and string.match(table.concat(first[2], ' '), ' s 1$') then
    return {2, '0', '0-0'}
  end
end
if not last or due.err or #(due[3] or {}) > 0 then
  return lost()
end
local taken = due[2]
local new = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[4], 'STREAMS', KEYS[1], '>')
local events = new and new[1][2] or {}
for _, event in ipairs(events) do
  local place, fields, settled, number = event[1], event[2], false, nil
  for i = 1, #fields, 2 do
    if fields[i] == 'v' then
      settled = fields[i + 1] == '1'
    elseif fields[i] == 's' then
      number = tonumber(fields[i + 1])
    end
  end
  if number and number ~= last + 1 then
    return lost()
  end
  last = number or last
  if settled then
    redis.call('XACK', KEYS[1], ARGV[1], place)
  else
    taken[#taken + 1] = {place, fields}
  end
end
local full = #events == tonumber(ARGV[4])
if not full and last ~= newest then
  return lost()
end
redis.call('SET', KEYS[3], string.format('%.0f', last))
return {0, full and 1 or 0, taken}
