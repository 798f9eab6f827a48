-- May a claim be granted now? Checks only; writes nothing but torn-up tickets.
--
-- Limits of the claim: {name, kind, cost, line, book}. A refusal is {reason, limit, retry_in}; where several limits
-- refuse, the one that takes longest is named.
local EMPTY, WAITING, UNOBSERVED, PAUSED, HALF_OPEN, IMPOSSIBLE = 1, 2, 3, 4, 5, 6
local HALF_OPEN_RETRY = 250000
local UNKNOWN_RESET_RETRY = 60 * UNIT

local function refuse(reason, limit, retry_in) return {reason = reason, limit = limit, retry_in = math.ceil(retry_in)} end

local function check_account(state, leases_key, max_age, now)
  if state.paused and now < state.paused then return refuse(PAUSED, 'account', state.paused - now) end
  if state.half == 1 and redis.call('ZCOUNT', leases_key, '(' .. int(now), '+inf') > 0 then
    return refuse(HALF_OPEN, 'account', HALF_OPEN_RETRY)
  end
  if max_age and (not state.seen or now - state.seen > max_age) then return refuse(UNOBSERVED, 'account', 0) end
end

local function check_quota(state, limit, at_least, max_age, now)
  local name, left, cap = limit.name, state[limit.name .. '.left'], state[limit.name .. '.cap']
  local reset = state[name .. '.reset']
  if reset_passed(state, name, now) then
    if max_age or not cap then return refuse(UNOBSERVED, name, 0) end
    left = cap
  end
  if not left then return refuse(UNOBSERVED, name, 0) end
  if cap and (at_least or limit.cost) > cap then return refuse(IMPOSSIBLE, name, 0) end
  if left >= limit.cost then return nil end
  if reset and reset > now then return refuse(EMPTY, name, reset - now) end
  if max_age then return refuse(UNOBSERVED, name, 0) end
  return refuse(EMPTY, name, UNKNOWN_RESET_RETRY)
end

local function check_bucket(state, limit, ticket, now)
  local name = limit.name
  local level = level_at(state, name, now)
  if not level then return refuse(UNOBSERVED, name, 0) end
  if limit.cost > state[name .. '.cap'] then return refuse(IMPOSSIBLE, name, 0) end
  local ahead = 0
  if limit.line then ahead, limit.has_line = cost_ahead(state, name, limit.line, limit.book, ticket, now) end
  local short = limit.cost + margin_of(state, name, limit.cost, now) - level
  if short + ahead <= 0 then return nil end
  local rate = state[name .. '.rate']
  local retry_in = rate > 0 and (short + ahead) * UNIT / rate or UNKNOWN_RESET_RETRY
  return refuse(short > 0 and EMPTY or WAITING, name, math.max(1000, retry_in))
end

-- A divisible claim shrinks to what its quotas have left and its buckets can hold.
local function shrink(state, limits, at_least, now)
  if not at_least then return end
  local units
  for _, limit in ipairs(limits) do
    local room = state[limit.name .. '.cap']
    if limit.kind == QUOTA and not reset_passed(state, limit.name, now) then room = state[limit.name .. '.left'] end
    if room and room < limit.cost then units = math.min(units or room, math.floor(room / UNIT) * UNIT) end
  end
  if not units or units < at_least then return end
  for _, limit in ipairs(limits) do limit.cost = units end
end

local function outranks(one, other)
  if not other then return true end
  if one.reason >= UNOBSERVED or other.reason >= UNOBSERVED then return one.reason > other.reason end
  return one.retry_in > other.retry_in
end

local function check_claim(state, leases_key, limits, ticket, at_least, max_age, now)
  local refusal = check_account(state, leases_key, max_age, now)
  if refusal then return refusal end
  shrink(state, limits, at_least, now)
  for _, limit in ipairs(limits) do
    local found
    if limit.kind == BUCKET then found = check_bucket(state, limit, ticket, now)
    else found = check_quota(state, limit, at_least, max_age, now) end
    if found and outranks(found, refusal) then refusal = found end
  end
  return refusal
end
