-- Counts what was admitted without asking, at the times it was, whether or not there was room; see admit.lua.
-- KEYS  counts per subject
-- ARGV  the time in ms ('' for the server's), then per key: ms of a slice, number of pairs, pairs of
--       ms since they were admitted, units
local SLICES, HEAD, ITEM, MOST = 60, 14, 10, 614
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local at = 2
for i = 1, #KEYS do
  local width, pairs_given = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local slice, units_of, numbers = math.floor(now / width), {}, {}
  local function add(number, units)
    if number >= slice - SLICES and number <= slice then
      if not units_of[number] then
        numbers[#numbers + 1] = number
      end
      units_of[number] = math.min((units_of[number] or 0) + units, 4294967295)
    end
  end
  local found = redis.pcall('GETRANGE', KEYS[i], 0, MOST)
  if type(found) == 'string' and #found <= MOST and #found >= HEAD and (#found - HEAD) % ITEM == 0 then
    for place = 5, #found, ITEM do
      local number, units = struct.unpack('<I6I4', found, place)
      if number > slice and number <= slice + SLICES then
        number = slice -- the clock was set back a little
      end
      add(number, units)
    end
  end
  for j = at + 2, at + 2 * pairs_given, 2 do
    add(math.floor((now - ARGV[j]) / width), tonumber(ARGV[j + 1]))
  end
  table.sort(numbers)
  local used, items = 0, {}
  for _, number in ipairs(numbers) do
    used = math.min(used + units_of[number], 4294967295)
    items[#items + 1] = struct.pack('<I6I4', number, units_of[number])
  end
  if #items > 0 then
    local last = table.remove(items)
    local kept = struct.pack('<I4', used) .. last .. table.concat(items)
    redis.call('SET', KEYS[i], kept, 'PX', (SLICES + 2) * width)
  end
  at = at + 2 + 2 * pairs_given
end
return #KEYS
