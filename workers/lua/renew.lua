-- Says that held messages are still held.
--
-- KEYS[1] index of the unacknowledged   ARGV: delivery tags
-- Reply: how many of them are still recorded
local time, found = redis.call('TIME'), 0
local now = time[1] .. '.' .. string.format('%06d', time[2])
for _, tag in ipairs(ARGV) do
  if redis.call('ZSCORE', KEYS[1], tag) then
    redis.call('ZADD', KEYS[1], now, tag)
    found = found + 1
  end
end
return found
