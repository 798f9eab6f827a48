-- Forgets a parked message that is back in its queue, unless it was parked anew meanwhile.
--
-- KEYS[1] due times   KEYS[2] messages   ARGV[1] id   ARGV[2] due time that was handed out
-- Reply: 1 forgotten, 0 parked anew
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not due or string.format('%.0f', due) ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
