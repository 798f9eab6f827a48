-- Once a second: what leases are dead, and which have been in flight for so long that something is wrong with them.
local LOOK_EVERY = UNIT
local LOOK_AT = 100

-- Leases whose time is over stop counting as outstanding. What they may have spent stays spent until an observation.
local function lapse_leases(state_key, leases_key, state, now)
  local dead = redis.call('ZRANGEBYSCORE', leases_key, '-inf', int(now), 'LIMIT', 0, LOOK_AT)
  for _, handle in ipairs(dead) do
    local _, _, parts = parse_handle(handle)
    for _, part in ipairs(parts) do
      local field = part.name .. '.S'
      state[field] = redis.call('HINCRBY', state_key, field, int(part.cost))
    end
    redis.call('ZREM', leases_key, handle)
  end
  return #dead == LOOK_AT
end

-- A request that takes many times longer than usual was killed, or hangs: a bucket need not wait for its lease to end.
local function find_overdue(state_key, leases_key, state, limits, now)
  local overdue, since = {}, now - 8 * (state.latency or math.huge) - UNIT
  for _, handle in ipairs(redis.call('ZRANGE', leases_key, 0, LOOK_AT - 1)) do
    local _, start, parts = parse_handle(handle)
    if start > since then break end
    for _, part in ipairs(parts) do overdue[part.name] = (overdue[part.name] or 0) + part.cost end
  end
  for _, limit in ipairs(limits) do
    local field, cost = limit.name .. '.overdue', overdue[limit.name] or 0
    if limit.kind == BUCKET and cost ~= (state[field] or 0) then
      redis.call('HSET', state_key, field, int(cost))
      state[field] = cost
    end
  end
end

local function tend_leases(state_key, leases_key, state, limits, now)
  if now < state.lapse_at then return end
  local more = lapse_leases(state_key, leases_key, state, now)
  find_overdue(state_key, leases_key, state, limits, now)
  if not more then redis.call('HSET', state_key, 'lapse_at', int(now + LOOK_EVERY)) end
end
