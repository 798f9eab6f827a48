-- Forgets acknowledged messages, then takes the first message of the first list that has one and records it as
-- unacknowledged. Lists stand in the order in which they are served. Never waits.
--
-- A message without a readable delivery tag, or with one that another message bears just now, goes to its list's
-- in-flight list instead: what it is worth is decided elsewhere.
--
-- KEYS[1] unacknowledged (hash tag -> list, a zero byte, message)   KEYS[2] their index
-- then list, in-flight list, list, in-flight list, …
-- ARGV: delivery tags of acknowledged messages
-- Reply: number of the list (from 1), message, its delivery tag where recorded ('': in flight); or nothing
local LARGEST = 1048576

local function tag_of(message)
  if #message > LARGEST then return nil end
  local fine, payload = pcall(cjson.decode, message)
  local properties = fine and type(payload) == 'table' and payload.properties
  local tag = type(properties) == 'table' and properties.delivery_tag
  return type(tag) == 'string' and tag ~= '' and tag or nil
end

if #ARGV > 0 then
  redis.call('HDEL', KEYS[1], unpack(ARGV))
  redis.call('ZREM', KEYS[2], unpack(ARGV))
end
for i = 3, #KEYS, 2 do
  local message = redis.call('LINDEX', KEYS[i], -1)
  if message then
    local tag, record = tag_of(message), KEYS[i] .. '\0' .. message
    local held = tag and redis.call('HGET', KEYS[1], tag)
    if not tag or (held and held ~= record) then
      redis.call('LMOVE', KEYS[i], KEYS[i + 1], 'RIGHT', 'LEFT')
      return {(i - 1) / 2, message, ''}
    end
    local time = redis.call('TIME')
    redis.call('RPOP', KEYS[i])
    redis.call('HSET', KEYS[1], tag, record)
    redis.call('ZADD', KEYS[2], time[1] .. '.' .. string.format('%06d', time[2]), tag)
    return {(i - 1) / 2, message, tag}
  end
end
return false
