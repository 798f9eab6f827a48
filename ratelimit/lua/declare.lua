-- Makes the account known with the plan's numbers. What the provider has told since stays, until the declaration
-- itself is another one.
--
-- A bucket starts empty, as if its burst had just been spent; where the provider can be asked, nothing is granted
-- before it was, so the start does not matter there.
--
-- KEYS[1] account state
-- ARGV[1] now us ('': the server's clock)   then per limit: name, kind, capacity, rate ('' where only the provider knows)
-- Reply: 1
-- include: _clock
-- include: _limits
local now, limits = now_us(), {}
for i = 2, #ARGV, 4 do
  local plan = ARGV[i + 2] .. ':' .. ARGV[i + 3]
  local told = redis.call('HGET', KEYS[1], ARGV[i] .. '.plan')
  if ARGV[i + 2] ~= '' and told ~= plan then
    redis.call('HSET', KEYS[1], ARGV[i] .. '.plan', plan)
    limits[#limits + 1] = {
      name = ARGV[i], kind = ARGV[i + 1], cap = tonumber(ARGV[i + 2]), rate = tonumber(ARGV[i + 3]), is_new = not told,
    }
  end
end

local state, changed = read_state(KEYS[1], limits), {lapse_at = now}
for _, limit in ipairs(limits) do
  local name = limit.name
  local cap, level, left = state[name .. '.cap'], state[name .. '.level'], state[name .. '.left']
  if cap and limit.is_new then limit.cap, limit.rate = cap, state[name .. '.rate'] end
  changed[name .. '.cap'] = limit.cap
  if limit.kind == BUCKET then
    level = level and math.min(limit.cap, level_at(state, name, now))
    changed[name .. '.rate'], changed[name .. '.level'], changed[name .. '.at'] = limit.rate, level or 0, now
  else
    changed[name .. '.left'] = left and cap and left + limit.cap - cap or left or limit.cap
  end
end
if state.lapse_at then changed.lapse_at = nil end
write_state(KEYS[1], changed)
return 1
