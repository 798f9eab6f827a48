-- Records a fetched message as unacknowledged, unless a sweep has put it back meanwhile, or another message bears its
-- tag (it then stays in flight, and the sweep puts it back to try again).
--
-- KEYS[1] in-flight list   KEYS[2] unacknowledged (hash tag -> list, a zero byte, message)   KEYS[3] their index
-- ARGV[1] message   ARGV[2] delivery tag   ARGV[3] list it came from
-- Reply: 1 recorded, 0 somebody else has it now
local record, held = ARGV[3] .. '\0' .. ARGV[1], redis.call('HGET', KEYS[2], ARGV[2])
if held and held ~= record then return 0 end
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
local time = redis.call('TIME')
redis.call('HSET', KEYS[2], ARGV[2], record)
redis.call('ZADD', KEYS[3], time[1] .. '.' .. string.format('%06d', time[2]), ARGV[2])
return 1
