-- One limit's state, read from and written to the account's hash. All amounts are micro-units, all times
-- microseconds. Fields of limit `n`:
--   bucket  n.level n.at n.cap n.rate (micro-units a second) n.extra n.extra_until (margin grown after a 429)
--           n.overdue (cost of the reservations that have been in flight for long, see _leases.lua)
--   quota   n.left n.cap n.reset n.from (when its present period was first seen)
--   both    n.G granted since ever, n.S settled (or lapsed) since ever: G - S is outstanding
--           n.plan what was declared last (declare.lua)
-- Fields of the account: seen (newest observation), paused (until), paused_kind, paused_why, half (since when one
-- request at a time goes ahead, 0: all may), latency (running mean), faults (in a row), trips (closings in a row),
-- lapse_at (when to look for dead leases again; absent: the account is not known)
local UNIT = 1000000
local BUCKET, QUOTA = 'b', 'q'
local BUCKET_FIELDS = {'.level', '.at', '.cap', '.rate', '.extra', '.extra_until', '.overdue', '.G', '.S'}
local QUOTA_FIELDS = {'.left', '.cap', '.reset', '.from', '.G', '.S'}

-- The account's numbers and those of `limits` ({name, kind} pairs), as one table: field -> number.
local function read_state(key, limits)
  local fields, n = {'seen', 'paused', 'half', 'latency', 'faults', 'trips', 'lapse_at'}, 7
  for _, limit in ipairs(limits) do
    for _, field in ipairs(limit.kind == BUCKET and BUCKET_FIELDS or QUOTA_FIELDS) do
      n = n + 1
      fields[n] = limit.name .. field
    end
  end
  local values, state = redis.call('HMGET', key, unpack(fields)), {}
  for i = 1, n do
    if values[i] then state[fields[i]] = tonumber(values[i]) end
  end
  return state
end

local function write_state(key, changed)
  local args, n = {}, 0
  for field, value in pairs(changed) do
    args[n + 1], args[n + 2] = field, int(value)
    n = n + 2
  end
  if n > 0 then redis.call('HSET', key, unpack(args)) end
end

local function outstanding(state, name) return (state[name .. '.G'] or 0) - (state[name .. '.S'] or 0) end

-- What a bucket refills while one response is awaited.
local function refill_per_response(state, name)
  return math.ceil(state[name .. '.rate'] * (state.latency or 0) / UNIT)
end

-- How far a bucket may refill. The provider may not have counted what is in flight, and a full bucket refills no
-- further: what it loses meanwhile must not be believed to be there. What is overdue was counted long ago, or never
-- will be. Where a response takes longer than the bucket takes to fill, this would leave most of the refill unused;
-- there, as much in flight as is usual has been counted on average.
local function ceiling_of(state, name)
  local cap, usual = state[name .. '.cap'], refill_per_response(state, name)
  if usual <= cap then usual = 0 end
  return cap - math.max(0, outstanding(state, name) - (state[name .. '.overdue'] or 0) - usual)
end

-- What a bucket holds at `now`: refilled since it was last written, up to the ceiling.
local function level_at(state, name, now)
  local level, cap = state[name .. '.level'], state[name .. '.cap']
  if not level then return nil end
  local elapsed = math.max(0, now - state[name .. '.at'])
  local refilled = math.min(level + math.floor(elapsed * state[name .. '.rate'] / UNIT), ceiling_of(state, name))
  return math.min(cap, math.max(level, refilled))
end

local function grown_margin(state, name, now)
  if now >= (state[name .. '.extra_until'] or 0) then return 0 end
  return state[name .. '.extra'] or 0
end

-- How far above the floor a bucket is kept: the unit that rounding hides and, once somebody else was caught spending,
-- what an answer is behind the truth and what they were caught taking. A claim near the capacity leaves no room for it.
local function margin_of(state, name, cost, now)
  local margin, grown = UNIT, grown_margin(state, name, now)
  if grown > 0 then margin = margin + grown + refill_per_response(state, name) end
  return math.max(0, math.min(margin, state[name .. '.cap'] - cost))
end

-- A quota's reset time that belongs to the period before the present one; when that ends was not told.
local function reset_is_old(state, name)
  return state[name .. '.reset'] ~= nil and (state[name .. '.from'] or 0) >= state[name .. '.reset']
end

-- A quota whose reset has passed and which nobody has looked at since.
local function reset_passed(state, name, now)
  local reset = state[name .. '.reset']
  return reset ~= nil and now >= reset and not reset_is_old(state, name)
end

-- A lease's text: id:start:name=kind=cost=settled-at-start;...
local function parse_handle(handle)
  local id, start, rest = string.match(handle, '^([^:]*):(%d+):(.*)$')
  local parts = {}
  for name, kind, cost, settled in string.gmatch(rest, '([%w_]+)=(%a)=(%d+)=(%d+)') do
    parts[#parts + 1] = {name = name, kind = kind, cost = tonumber(cost), settled = tonumber(settled)}
  end
  return id, tonumber(start), parts
end

-- Settles one limit's part of a reservation: it is no longer outstanding, and `refund` of it was not spent.
local function settle_part(state, part, refund, start, now, changed)
  local name = part.name
  local level, left = part.kind == BUCKET and level_at(state, name, now), state[name .. '.left']
  state[name .. '.S'] = (state[name .. '.S'] or 0) + part.cost
  changed[name .. '.S'] = state[name .. '.S']
  if level then
    state[name .. '.level'], state[name .. '.at'] = math.min(state[name .. '.cap'], level + refund), now
    changed[name .. '.level'], changed[name .. '.at'] = state[name .. '.level'], now
  elseif part.kind == QUOTA and left and refund ~= 0 and start >= (state[name .. '.from'] or 0) then
    state[name .. '.left'] = left + refund
    changed[name .. '.left'] = state[name .. '.left']
  end
end
