-- Renews ownerships.
--
-- KEYS: records   ARGV[1] ms that the ownership lasts   then the owner per record
-- Reply: how many are still owned
local time, kept = redis.call('TIME'), 0
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i, key in ipairs(KEYS) do
  if redis.call('HGET', key, 'owner') == ARGV[i + 1] then
    redis.call('HSET', key, 'until', string.format('%.0f', now + ARGV[1]))
    if redis.call('PTTL', key) < ARGV[1] * 2 then redis.call('PEXPIRE', key, ARGV[1] * 2) end
    kept = kept + 1
  end
end
return kept
