-- Makes the account known and gives it the plan's numbers where the provider has not told better ones.
--
-- A bucket starts empty, as if its burst had just been spent; where the provider can be asked, nothing is granted
-- before it was, so the start does not matter there.
--
-- KEYS[1] account state
-- ARGV[1] now us ('': the server's clock)   then per limit: name, kind, capacity, rate ('' where only the provider knows)
-- Reply: 1
-- include: _clock
-- include: _limits
local now = now_us()
redis.call('HSETNX', KEYS[1], 'lapse_at', int(now))
for i = 2, #ARGV, 4 do
  local name, kind, cap, rate = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if cap ~= '' then
    redis.call('HSETNX', KEYS[1], name .. '.cap', cap)
    if kind == BUCKET and redis.call('HEXISTS', KEYS[1], name .. '.level') == 0 then
      redis.call('HSET', KEYS[1], name .. '.rate', rate, name .. '.level', '0', name .. '.at', int(now))
    elseif kind == QUOTA then
      redis.call('HSETNX', KEYS[1], name .. '.left', cap)
    end
  end
end
return 1
