-- Puts back what its node stopped renewing: the node is dead, or as good as.
--
-- KEYS[1] unacknowledged   KEYS[2] their index   ARGV[1] seconds without renewal   ARGV[2] most at a time
-- Reply: how many were put back
local time = redis.call('TIME')
local limit = time[1] + time[2] / 1000000 - ARGV[1]
local tags = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.6f', limit), 'LIMIT', 0, ARGV[2])
for i = #tags, 1, -1 do
  local record = redis.call('HGET', KEYS[1], tags[i])
  redis.call('ZREM', KEYS[2], tags[i])
  if record then
    redis.call('HDEL', KEYS[1], tags[i])
    local cut = string.find(record, '\0', 1, true)
    redis.call('RPUSH', string.sub(record, 1, cut - 1), string.sub(record, cut + 1))
  end
end
return #tags
