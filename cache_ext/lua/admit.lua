-- Admits requests within sliding windows. They are counted by slices, 60 to a window; a slice counts until all
-- of it has left the window.
-- KEYS  counts per subject: units in all (4 bytes), the last slice with units in it: its number (6), units (4);
--       then the earlier ones, the oldest first: number (6), units (4)
-- ARGV  the time in ms ('' for the server's); then in one string per key: limit, ms of a slice, cost, how many
--       want as much (4 bytes each)
-- Returns in one string for each who wants something: now in ms (8 bytes), units left (4), ms when the next unit
--         frees (8, 0 if none is used), ms when as many as it costs will be free (8, 0 if it was admitted, -1 if
--         never)
local SLICES, HEAD, ITEM, MOST = 60, 14, 10, 614
local CHECK = 16
local unpack, pack, sub, floor = struct.unpack, struct.pack, string.sub, math.floor
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + floor(time[2] / 1000)
end
local answers = {}
for i, key in ipairs(KEYS) do
  local limit, width, cost, times = unpack('<I4I4I4I4', ARGV[2], (i - 1) * CHECK + 1)
  local slice, used, last, units = floor(now / width), 0, 0, 0
  local found = redis.pcall('GETRANGE', key, 0, MOST)
  local size = type(found) == 'string' and #found or 0
  if size >= HEAD and size <= MOST and (size - HEAD) % ITEM == 0 then
    used, last, units = unpack('<I4I6I4', found)
    if last > slice + SLICES or last < slice - SLICES then
      used, units, found = 0, 0, '' -- long ago, or made up: no clock is set back by as much
    elseif last > slice then
      slice = last
    elseif last < slice then
      found, units = found .. pack('<I6I4', last, units), 0
    end
  else
    found = ''
  end
  local first, oldest = HEAD + 1, nil
  size = #found
  while first < size do
    local number, gone = unpack('<I6I4', found, first)
    if number >= slice - SLICES and number < slice then
      oldest = number
      break
    end
    used, first = used - gone, first + ITEM
  end
  if not oldest or used < units then
    used, oldest = units, oldest or slice
  end
  local added = 0
  for _ = 1, times do
    local ready = 0
    if used + cost <= limit then
      used, added = used + cost, added + cost
    elseif cost > limit then
      ready = -1
    else
      local need, place, number, freed = used + cost - limit, first, slice, 0
      while need > 0 and place < size do
        number, freed = unpack('<I6I4', found, place)
        need, place = need - freed, place + ITEM
      end
      ready = ((need > 0 and slice or number) + SLICES + 1) * width
    end
    local left = used < limit and limit - used or 0
    local frees = used > 0 and (oldest + SLICES + 1) * width or 0
    answers[#answers + 1] = pack('<I8I4I8i8', now, left, frees, ready)
  end
  if added > 0 then
    local head = pack('<I4I6I4', used, slice, units + added)
    if units > 0 and first == HEAD + 1 then -- nothing else changes; the ttl is that of the slice's first unit
      redis.call('SETRANGE', key, 0, head)
    else
      redis.call('SET', key, head .. sub(found, first), 'PX', (SLICES + 2) * width)
    end
  end
end
return table.concat(answers)
