-- Ends an ownership without a result: the message waits somewhere, with what it carries to its next step.
--
-- KEYS[1] the message's record
-- ARGV[1] owner   ARGV[2] attempts   ARGV[3] deferrals   ARGV[4] started at ('': not yet)   ARGV[5] progress ('': none)
-- ARGV[6] ms that the record is kept
-- Reply: 1 released, 0 not ours (any more)
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
if ARGV[2] == '0' and ARGV[3] == '0' and ARGV[5] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('HDEL', KEYS[1], 'owner', 'until')
  redis.call('HSET', KEYS[1], 'attempts', ARGV[2], 'deferrals', ARGV[3], 'started', ARGV[4], 'progress', ARGV[5])
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
end
return 1
