-- Publishes a result once: adds it to the stream unless the message has one.
--
-- KEYS[1] stream   KEYS[2] the message's record
-- ARGV[1] ms that the record is kept   then the entry's fields and values
-- Reply: 1 published, 0 it had a result before
if redis.call('HEXISTS', KEYS[2], 'done') == 1 then return 0 end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'v', 1, 'done', 1)
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return 1
