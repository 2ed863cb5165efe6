-- Put before the scripts that write: drop what lies at a key and is of another kind, whoever put it there.
local function kept(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then
    redis.call('DEL', key)
  end
end
