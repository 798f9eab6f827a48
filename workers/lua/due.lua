-- Hands out parked messages whose time has come, and parks each a little longer in case the caller dies with it.
--
-- KEYS[1] due times (sorted set, ms)   KEYS[2] messages (hash)   ARGV[1] ms to park longer   ARGV[2] most at a time
-- Reply: id, message, new due time, id, …
local time, reply = redis.call('TIME'), {}
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local later = string.format('%.0f', now + ARGV[1])
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[2])) do
  local message = redis.call('HGET', KEYS[2], id)
  if message then
    redis.call('ZADD', KEYS[1], later, id)
    reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = id, message, later
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return reply
