-- Opens a message for one delivery: says whether it is finished, and keeps a second delivery from running beside.
--
-- KEYS[1] the message's record (hash)
-- ARGV[1] owner (this delivery)   ARGV[2] ms that the ownership lasts unless renewed
-- Reply: 0 finished; 1 owned by another delivery; or 2, attempts, deferrals, started at, progress ('' where none)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.call('HMGET', KEYS[1], 'done', 'owner', 'until', 'attempts', 'deferrals', 'started', 'progress')
if held[1] then return {0} end
if held[2] and held[2] ~= ARGV[1] and tonumber(held[3]) > now then return {1} end
redis.call('HSET', KEYS[1], 'v', 1, 'owner', ARGV[1], 'until', string.format('%.0f', now + ARGV[2]))
if not held[4] then redis.call('PEXPIRE', KEYS[1], ARGV[2] * 2) end
return {2, held[4] or '0', held[5] or '0', held[6] or '', held[7] or ''}
