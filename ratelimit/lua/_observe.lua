-- Folding what the provider said into what we believe.
--
-- An answer to a request started at `start` says `left` (rounded down). `overlap` is the cost of other requests in
-- flight at any time since: the provider may or may not have counted them. When all of them are settled the level
-- lies between left - overlap and left + 1 + refill since start. Local belief is moved into that interval, no further.
--
-- Both clamps return whether the answer was of use.
local GROWN_FOR = 60 * UNIT

local function clamp_bucket(state, name, seen, start, overlap, now, changed)
  local cap = seen.cap or state[name .. '.cap']
  local rate = seen.rate or state[name .. '.rate']
  if not cap or not rate then return false end
  local level, since = level_at(state, name, now), math.ceil(rate * (now - start) / UNIT)
  if seen.left then
    local low, high = seen.left - overlap, seen.left + UNIT + since
    level = level and math.max(low, math.min(level, high)) or low
  end
  if seen.at_most then
    if level then level = math.min(level, seen.at_most + since) end
    changed[name .. '.extra'] = math.min(cap, grown_margin(state, name, now) + UNIT)
    changed[name .. '.extra_until'] = now + GROWN_FOR
  end
  if seen.cap then changed[name .. '.cap'] = cap end
  if seen.rate then changed[name .. '.rate'] = rate end
  if level then changed[name .. '.level'], changed[name .. '.at'] = math.min(level, cap), now end
  return true
end

-- Where in the row of its periods does an answer about a quota belong? It says that the reset is between start +
-- reset_in and now + reset_in, as it was given at some moment between start and now.
--
-- Two such moments of one reset differ by a response time, by the provider's rounding and by the drift of two clocks;
-- SAME_PERIOD allows for the latter two. A period must be longer than that and two response times.
local SAME_PERIOD = 1 * UNIT
local OLD, PRESENT, NEW = -1, 0, 1

local function period_of(state, name, seen, start, now)
  local reset, from = state[name .. '.reset'], state[name .. '.from'] or 0
  if not state[name .. '.left'] then return NEW end
  if reset and seen.reset_in and start + seen.reset_in > reset + SAME_PERIOD then return NEW end
  if reset_passed(state, name, now) then return start >= reset and NEW or OLD end
  if start >= from then return PRESENT end
  if not seen.reset_in or reset_is_old(state, name) then return OLD end
  return reset and now + seen.reset_in < reset - SAME_PERIOD and OLD or PRESENT
end

local function clamp_quota(state, name, seen, start, overlap, now, changed)
  local left, reset, period = state[name .. '.left'], state[name .. '.reset'], period_of(state, name, seen, start, now)
  if period == OLD then return false end
  local cap = seen.cap or state[name .. '.cap']
  if period == NEW then left = left and cap and cap - outstanding(state, name) end
  if seen.left then
    local low = seen.left - overlap
    left = period == NEW and low or math.max(low, math.min(left, seen.left))
  end
  if seen.at_most then left = math.min(left or seen.at_most, seen.at_most) end
  if left then changed[name .. '.left'] = left end
  if seen.cap then changed[name .. '.cap'] = seen.cap end
  if period == NEW then changed[name .. '.from'] = now end
  if seen.reset_in then
    local told = now + math.max(1, seen.reset_in)
    local replaces = period == NEW or not reset or reset_is_old(state, name)
    changed[name .. '.reset'] = replaces and told or math.min(reset, told)
  end
  return true
end

-- Observations stand in ARGV from index `at`: count, then per observation name, kind, left, at_most, capacity, rate,
-- reset_in ('' where not said).
local function parse_observations(at)
  local list = {}
  for i = at + 1, at + 7 * tonumber(ARGV[at]), 7 do
    list[#list + 1] = {
      name = ARGV[i], kind = ARGV[i + 1], left = tonumber(ARGV[i + 2]), at_most = tonumber(ARGV[i + 3]),
      cap = tonumber(ARGV[i + 4]), rate = tonumber(ARGV[i + 5]), reset_in = tonumber(ARGV[i + 6]),
    }
  end
  return list
end

-- `parts` are the limits' totals noted at the start ({name, cost, settled}); cost 0 where nothing was reserved.
local function fold_in(state, observations, start, parts, now, changed)
  local noted = {}
  for _, part in ipairs(parts) do noted[part.name] = part end
  for _, seen in ipairs(observations) do
    local name, clamp = seen.name, seen.kind == BUCKET and clamp_bucket or clamp_quota
    local part = noted[name] or {cost = 0, settled = 0}
    local overlap = math.max(0, (state[name .. '.G'] or 0) - part.settled - part.cost)
    if clamp(state, name, seen, start, overlap, now, changed) then
      if seen.left then changed.seen = now end
      -- A quota that refuses what we believed to be there: where the provider can be asked, ask before going on.
      if seen.at_most and seen.kind == QUOTA then changed.seen = 0 end
    end
  end
end
