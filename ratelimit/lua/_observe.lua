-- Folding what the provider said into what we believe.
--
-- An answer to a request started at `start` says `left` (rounded down). `overlap` is the cost of other requests in
-- flight at any time since: the provider may or may not have counted them. When all of them are settled the level
-- lies between left - overlap and left + 1 + refill since start. Local belief is moved into that interval, no further.

local function clamp_bucket(state, name, seen, start, overlap, now, changed)
  local cap = seen.cap or state[name .. '.cap']
  local rate = seen.rate or state[name .. '.rate']
  if not cap or not rate then return end
  local level = level_at(state, name, now)
  if seen.left then
    local low = seen.left - overlap
    local high = math.min(cap, seen.left + UNIT + math.ceil(rate * (now - start) / UNIT))
    level = level and math.max(low, math.min(level, high)) or low
  end
  if seen.at_most and level then
    level = math.min(level, seen.at_most + UNIT + math.ceil(rate * (now - start) / UNIT))
    changed[name .. '.extra'] = math.min(cap, grown_margin(state, name, now) + UNIT)
    changed[name .. '.extra_until'] = now + 60 * UNIT
  end
  changed[name .. '.cap'], changed[name .. '.rate'] = cap, rate
  if level then changed[name .. '.level'], changed[name .. '.at'] = math.min(level, cap), now end
end

-- Two answers about the same period name resets within a response time of each other.
local SAME_PERIOD = 5 * UNIT

local function clamp_quota(state, name, seen, overlap, now, changed)
  local left, reset = state[name .. '.left'], state[name .. '.reset']
  local told = seen.reset_in and now + seen.reset_in or nil
  local fresh = not left or (reset and now >= reset) or (told and reset and told > reset + SAME_PERIOD)
  if told and reset and told < reset - SAME_PERIOD and now < reset then
    return  -- an answer from before the last reset, overtaken by younger ones
  end
  if seen.left then
    local low = seen.left - overlap
    if fresh then left = low else left = math.max(low, math.min(left, seen.left)) end
  end
  if seen.at_most and left then left = math.min(left, seen.at_most) end
  if seen.cap then changed[name .. '.cap'] = seen.cap end
  if left then changed[name .. '.left'] = left end
  if fresh then changed[name .. '.from'] = now end
  if told then changed[name .. '.reset'] = (fresh or not reset) and told or math.min(reset, told) end
end

-- Observations stand in ARGV from index `at`: count, then per observation name, kind, left, at_most, capacity, rate,
-- reset_in ('' where not said). Returns them and the index behind.
local function parse_observations(at)
  local list, count = {}, tonumber(ARGV[at])
  at = at + 1
  for _ = 1, count do
    list[#list + 1] = {
      name = ARGV[at], kind = ARGV[at + 1], left = tonumber(ARGV[at + 2]), at_most = tonumber(ARGV[at + 3]),
      cap = tonumber(ARGV[at + 4]), rate = tonumber(ARGV[at + 5]), reset_in = tonumber(ARGV[at + 6]),
    }
    at = at + 7
  end
  return list, at
end

-- `parts` are the limits' totals noted at the start ({name, cost, settled}); cost 0 where nothing was reserved.
local function fold_in(state, observations, start, parts, now, changed)
  local noted = {}
  for _, part in ipairs(parts) do noted[part.name] = part end
  for _, seen in ipairs(observations) do
    local name, part = seen.name, noted[seen.name] or {cost = 0, settled = 0}
    local overlap = math.max(0, (state[name .. '.G'] or 0) - part.settled - part.cost)
    if seen.kind == BUCKET then clamp_bucket(state, name, seen, start, overlap, now, changed)
    else clamp_quota(state, name, seen, overlap, now, changed) end
    if seen.left then changed.seen = now end
  end
end

local function write_state(key, changed)
  local args = {}
  for field, value in pairs(changed) do
    args[#args + 1] = field
    args[#args + 1] = type(value) == 'number' and int(value) or value
  end
  if #args > 0 then redis.call('HSET', key, unpack(args)) end
end
