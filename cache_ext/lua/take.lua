-- Takes one event for one of several hooks: one that is due again or was abandoned, else a new one.
-- KEYS  stream
-- ARGV  taker, ms untouched after which an event is due, seconds that a group yet unknown looks back,
--       events of other names to pass over at most, then per hook: group, event's name, cursor ('' at first)
-- Returns {{cursor per hook}, 1 if there may be more, events that were due but are gone,
--          {number of the hook, place, times taken, {field, value, ...}}}, the last nil if there is no event;
--         or text: what is wrong with the stream
local LOOKS = 10
local left, lost, more, cursors, taken = tonumber(ARGV[4]), 0, 0, {}, false
local function make(group, known)
  local start = known and '0' or (redis.call('TIME')[1] - ARGV[3]) .. '000-0'
  return redis.pcall('XGROUP', 'CREATE', KEYS[1], group, start, 'MKSTREAM')
end
for i = 5, #ARGV, 3 do
  local number, group, name, cursor = (i - 2) / 3, ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if not taken then
    for look = 1, LOOKS do
      local from = cursor == '' and '0-0' or cursor
      local found = redis.pcall('XAUTOCLAIM', KEYS[1], group, ARGV[1], ARGV[2], from, 'COUNT', 1)
      if found.err then
        local made = make(group, cursor ~= '')
        if made.err then
          return made.err
        end
        cursor = '0-0'
        break
      end
      cursor = found[1]
      lost = lost + #(found[3] or {})
      local due = found[2][1]
      if due and due[2] then
        local times = redis.call('XPENDING', KEYS[1], group, due[1], due[1], 1)[1][4]
        taken = {number, due[1], times, due[2]}
      end
      if taken or cursor == '0-0' then
        break
      end
    end
    if cursor ~= '0-0' then
      more = 1
    end
    while not taken and left > 0 do
      local new = redis.call('XREADGROUP', 'GROUP', group, ARGV[1], 'COUNT', 1, 'STREAMS', KEYS[1], '>')
      if not new then
        break
      end
      local event = new[1][2][1]
      if event[2][2] == name then
        taken = {number, event[1], 1, event[2]}
      else
        redis.call('XACK', KEYS[1], group, event[1])
        left = left - 1
      end
    end
  end
  cursors[#cursors + 1] = cursor
end
return {cursors, left == 0 and 1 or more, lost, taken}
