-- Tears up a ticket: its claim is no longer waiting here.
--
-- KEYS line and book of each bucket   ARGV[1] ticket
-- Reply: 1
for i = 1, #KEYS, 2 do
  redis.call('ZREM', KEYS[i], ARGV[1])
  redis.call('HDEL', KEYS[i + 1], ARGV[1])
end
return 1
