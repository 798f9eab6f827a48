-- Parks a message until its time.
--
-- KEYS[1] due times (sorted set, ms)   KEYS[2] messages (hash)   ARGV[1] id   ARGV[2] ms from now   ARGV[3] message
-- Reply: due time in ms
local time = redis.call('TIME')
local due = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2])
redis.call('ZADD', KEYS[1], due, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
return due
