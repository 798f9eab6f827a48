-- Moves an unacknowledged message to the end of another queue, into the list of its priority.
--
-- KEYS[1] unacknowledged   KEYS[2] their index   ARGV[1] delivery tag   ARGV[2] queue   ARGV[3] priority separator
-- Reply: 1 moved, 0 it was not there
local record = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
if not record then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
local cut = string.find(record, '\0', 1, true)
local step = string.find(string.sub(record, 1, cut - 1), ARGV[3], 1, true)
redis.call('LPUSH', ARGV[2] .. (step and string.sub(record, step, cut - 1) or ''), string.sub(record, cut + 1))
return 1
