-- Notes the versions of tags, makes lost ones anew at the current position, and takes leases.
-- KEYS  epoch, sequence, a version per tag, then lease and value per key
-- ARGV  fresh epoch, channel, number of tags, version life ms, token, lease ms,
--       then per key the token of the value that the caller has seen ('' none, '*' take the lease over)
-- A lease is the token of who holds it, 8 bytes, and the sequence at which it was taken.
-- Returns {epoch, {seconds, microseconds}, {version per tag}, {per key: 1 granted, -ms busy, bytes changed}}
local TOKEN_FROM, TOKEN_TO = 4, 11
local MOST_DIGITS = 16
-- A version above the sequence is of an epoch that was lost with its sequence: the new one may come to the
-- same number, so it counts for lost as well. What a load notes must be below every later invalidation.
local function is_sound(version, sequence)
  local hard, soft = string.match(version, '^(%d+):?(%d*)$')
  if not hard or #hard > MOST_DIGITS or #soft > MOST_DIGITS or (soft == '' and hard ~= version) then
    return false
  end
  return math.max(tonumber(hard), tonumber(soft) or 0) <= tonumber(sequence)
end
local epoch, sequence = unpack(redis.call('MGET', KEYS[1], KEYS[2]))  -- of another type: as if absent
if not epoch or not string.match(sequence or '', '^%d+$') or #sequence >= MOST_DIGITS then
  epoch, sequence = ARGV[1], '0'
  redis.call('MSET', KEYS[1], epoch, KEYS[2], sequence)
  redis.call('PUBLISH', ARGV[2], 'e:' .. epoch .. ':' .. sequence .. ':')
end
local tags, life = tonumber(ARGV[3]), tonumber(ARGV[4])
local versions, newest = {}, 0
for i = 1, tags do
  local key = KEYS[2 + i]
  local version = redis.call('MGET', key)[1]
  if not version or not is_sound(version, sequence) then
    version = sequence
    redis.call('SET', key, version, 'PX', life)
  elseif redis.call('PTTL', key) < life then
    redis.call('PEXPIRE', key, life)
  end
  versions[i] = version
  local hard, soft = string.match(version, '^(%d+):?(%d*)$')
  newest = math.max(newest, tonumber(hard), tonumber(soft) or 0)
end
-- What is loaded under a lease from before an invalidation counts no more: nobody need wait for it. With
-- several keys the tags may be those of another one.
local function is_doomed(lease)
  local taken_at = tonumber(string.sub(redis.call('MGET', lease)[1] or '', 9))
  return taken_at and #ARGV == 7 and taken_at < newest
end
local outcomes = {}
for i = 7, #ARGV do
  local lease = KEYS[2 + tags + 2 * (i - 6) - 1]
  local value = KEYS[2 + tags + 2 * (i - 6)]
  local seen, outcome = ARGV[i], 1
  if seen ~= '*' then
    local left = redis.call('PTTL', lease)
    local found = redis.pcall('GETRANGE', value, TOKEN_FROM, TOKEN_TO)
    if type(found) ~= 'string' then
      found = ''
    end
    if found ~= '' and found ~= seen then
      outcome = redis.call('MGET', value)[1]
    elseif left > 0 and not is_doomed(lease) then
      outcome = -left
    end
  end
  if outcome == 1 then
    redis.call('SET', lease, ARGV[5] .. sequence, 'PX', ARGV[6])
  end
  outcomes[#outcomes + 1] = outcome
end
return {epoch, redis.call('TIME'), versions, outcomes}
