-- Puts an unacknowledged message back to the head of the list it came from.
--
-- KEYS[1] unacknowledged   KEYS[2] their index   ARGV[1] delivery tag
-- Reply: 1 put back, 0 it was not there
local record = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
if not record then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
local cut = string.find(record, '\0', 1, true)
redis.call('RPUSH', string.sub(record, 1, cut - 1), string.sub(record, cut + 1))
return 1
