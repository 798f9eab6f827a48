-- Leases whose time is over stop counting as outstanding. What they may have spent stays spent until an observation.
local function lapse_leases(state_key, leases_key, state, now)
  if now < state.lapse_at then return end
  local dead = redis.call('ZRANGEBYSCORE', leases_key, '-inf', int(now), 'LIMIT', 0, 100)
  for _, handle in ipairs(dead) do
    local _, _, parts = parse_handle(handle)
    for _, part in ipairs(parts) do
      local field = part.name .. '.S'
      state[field] = redis.call('HINCRBY', state_key, field, int(part.cost))
    end
    redis.call('ZREM', leases_key, handle)
  end
  if #dead < 100 then redis.call('HSET', state_key, 'lapse_at', int(now + UNIT)) end
end
