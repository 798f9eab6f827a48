-- Puts a message that was fetched but never recorded back to the head of its list.
--
-- KEYS[1] in-flight list   KEYS[2] list   ARGV[1] message
-- Reply: 1 put back, 0 it was recorded meanwhile
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[1])
return 1
