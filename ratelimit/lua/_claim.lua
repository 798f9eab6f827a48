-- May a claim be granted now? Checks only; writes nothing.
--
-- Limits of the claim: {name, kind, cost, line, book}. A refusal is {reason, limit, retry_in}; where several limits
-- refuse, the one that takes longest is named.
--
-- Noted in a limit on the way: refused, queued (has a ticket in its line), dead (tickets met that lapsed), unknown_reset.
local EMPTY, WAITING, UNOBSERVED, PAUSED, HALF_OPEN, IMPOSSIBLE = 1, 2, 3, 4, 5, 6
local SHORTEST_RETRY = 1000
local HALF_OPEN_RETRY = 250000
local UNKNOWN_RETRY = 60 * UNIT

local function refuse(reason, limit, retry_in) return {reason = reason, limit = limit, retry_in = math.ceil(retry_in)} end

local function check_account(state, leases_key, max_age, now)
  if state.paused and now < state.paused then return refuse(PAUSED, 'account', state.paused - now) end
  if (state.half or 0) > 0 and redis.call('ZCOUNT', leases_key, '(' .. int(now), '+inf') > 0 then
    return refuse(HALF_OPEN, 'account', HALF_OPEN_RETRY)
  end
  if max_age and (not state.seen or now - state.seen > max_age) then return refuse(UNOBSERVED, 'account', 0) end
end

-- What a quota has left; after a reset that nobody has looked at since, all but what is in flight (it may count in
-- either period), or nil where the provider can be asked.
local function left_of(state, name, max_age, now)
  if not reset_passed(state, name, now) then return state[name .. '.left'] end
  local cap = state[name .. '.cap']
  return cap and not max_age and cap - outstanding(state, name) or nil
end

local function check_quota(state, limit, at_least, max_age, now)
  local name = limit.name
  local left, cap, reset = left_of(state, name, max_age, now), state[name .. '.cap'], state[name .. '.reset']
  if not left then return refuse(UNOBSERVED, name, 0) end
  if cap and (at_least or limit.cost) > cap then return refuse(IMPOSSIBLE, name, 0) end
  if left >= limit.cost then return nil end
  if reset_passed(state, name, now) then return refuse(EMPTY, name, HALF_OPEN_RETRY) end
  if reset and reset > now then return refuse(EMPTY, name, reset - now) end
  limit.unknown_reset = true
  return refuse(EMPTY, name, UNKNOWN_RETRY)
end

local function check_bucket(state, limit, ticket, now)
  local name, ahead = limit.name, nil
  local level = level_at(state, name, now)
  if not level then return refuse(UNOBSERVED, name, 0) end
  if limit.cost > state[name .. '.cap'] then return refuse(IMPOSSIBLE, name, 0) end
  ahead, limit.queued, limit.dead = look_ahead(limit.line, limit.book, ticket, now)
  local short = limit.cost + margin_of(state, name, limit.cost, now) - level
  if short + ahead <= 0 then return nil end
  local rate = state[name .. '.rate']
  local retry_in = rate > 0 and (short + ahead) * UNIT / rate or UNKNOWN_RETRY
  limit.refused = true
  return refuse(short > 0 and EMPTY or WAITING, name, math.max(SHORTEST_RETRY, retry_in))
end

local function shrink_to(limits, room, at_least)
  local units = math.floor(room / UNIT) * UNIT
  if units < at_least then return end
  for _, limit in ipairs(limits) do limit.cost = math.min(limit.cost, units) end
end

-- A divisible claim shrinks to what its limits can ever hold, then to what its quotas have left.
local function shrink(state, limits, at_least, max_age, now)
  local capacity, left = math.huge, math.huge
  for _, limit in ipairs(limits) do
    capacity = math.min(capacity, state[limit.name .. '.cap'] or math.huge)
    if limit.kind == QUOTA then left = math.min(left, left_of(state, limit.name, max_age, now) or math.huge) end
  end
  shrink_to(limits, capacity, at_least)
  shrink_to(limits, left, at_least)
end

local function outranks(one, other)
  if not other then return true end
  if one.reason >= UNOBSERVED or other.reason >= UNOBSERVED then return one.reason > other.reason end
  return one.retry_in > other.retry_in
end

local function check_claim(state, leases_key, limits, ticket, at_least, max_age, now)
  local refusal = check_account(state, leases_key, max_age, now)
  if refusal then return refusal end
  if at_least then shrink(state, limits, at_least, max_age, now) end
  for _, limit in ipairs(limits) do
    local found
    if limit.kind == BUCKET then found = check_bucket(state, limit, ticket, now)
    else found = check_quota(state, limit, at_least, max_age, now) end
    if found and outranks(found, refusal) then refusal = found end
  end
  return refusal
end
