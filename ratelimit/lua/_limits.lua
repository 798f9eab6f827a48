-- One limit's state, read from and written to the account's hash. All amounts are micro-units, all times
-- microseconds. Fields of limit `n`:
--   bucket  n.level n.at n.cap n.rate (micro-units a second) n.extra n.extra_until (margin grown after a 429) n.W
--   quota   n.left n.cap n.reset n.from (when its present period was first seen)
--   both    n.G granted since ever, n.S settled (or lapsed) since ever: G - S is outstanding
local UNIT = 1000000
local BUCKET, QUOTA = 'b', 'q'
local BUCKET_FIELDS = {'level', 'at', 'cap', 'rate', 'extra', 'extra_until', 'G', 'S', 'W'}
local QUOTA_FIELDS = {'left', 'cap', 'reset', 'from', 'G', 'S'}
local ACCOUNT_FIELDS = {'seen', 'paused', 'paused_kind', 'paused_why', 'half', 'latency', 'faults', 'trips', 'lapse_at'}

local function append_fields(fields, name, kind)
  for _, field in ipairs(kind == BUCKET and BUCKET_FIELDS or QUOTA_FIELDS) do
    fields[#fields + 1] = name .. '.' .. field
  end
end

-- The account's own fields and those of `limits` ({name, kind} pairs), as one table: field -> number or text.
local function read_state(key, limits)
  local fields = {unpack(ACCOUNT_FIELDS)}
  for _, limit in ipairs(limits) do append_fields(fields, limit.name, limit.kind) end
  local values, state = redis.call('HMGET', key, unpack(fields)), {}
  for i, field in ipairs(fields) do
    if values[i] then state[field] = tonumber(values[i]) or values[i] end
  end
  return state
end

-- What a bucket holds at `now`: refilled since it was last written, never above its capacity.
local function level_at(state, name, now)
  local level, cap = state[name .. '.level'], state[name .. '.cap']
  if not level then return nil end
  local elapsed = math.max(0, now - state[name .. '.at'])
  return math.min(cap, level + math.floor(elapsed * state[name .. '.rate'] / UNIT))
end

local function grown_margin(state, name, now)
  if now >= (state[name .. '.extra_until'] or 0) then return 0 end
  return state[name .. '.extra'] or 0
end

-- How far above the floor a bucket is kept: the unit that rounding hides, what it seems to refill between our start
-- and the provider's count, and what somebody else was caught taking.
local function margin_of(state, name, cost, now)
  local hidden = math.ceil(state[name .. '.rate'] * (state.latency or 0) / UNIT)
  local margin = UNIT + hidden + grown_margin(state, name, now)
  return math.max(0, math.min(margin, state[name .. '.cap'] - cost))
end

-- A quota whose reset has passed and which nobody has looked at since.
local function reset_passed(state, name, now)
  local reset = state[name .. '.reset']
  return reset and now >= reset and (state.seen or 0) < reset
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

-- Leases whose time is over stop counting as outstanding. What they may have spent stays spent until an observation.
local function lapse_leases(state_key, leases_key, state, now)
  if now < (state.lapse_at or 0) then return 0 end
  local dead = redis.call('ZRANGEBYSCORE', leases_key, '-inf', now, 'LIMIT', 0, 100)
  for _, handle in ipairs(dead) do
    local _, _, parts = parse_handle(handle)
    for _, part in ipairs(parts) do
      local field = part.name .. '.S'
      local settled = redis.call('HINCRBY', state_key, field, int(part.cost))
      if state[field] then state[field] = settled end
    end
    redis.call('ZREM', leases_key, handle)
  end
  if #dead < 100 then redis.call('HSET', state_key, 'lapse_at', int(now + UNIT)) end
  return #dead
end
