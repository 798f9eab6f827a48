-- Grants a claim against every limit it names, or nothing at all; a claim denied by a bucket joins its line.
--
-- KEYS[1] account state   KEYS[2] leases   then per limit of the claim: line, book (a quota's are never used)
-- ARGV[1] now us ('': the server's clock)   ARGV[2] ticket ('': does not queue)   ARGV[3] reservation id
-- ARGV[4] lease us   ARGV[5] ticket life us, beyond the moment it is told to ask again
-- ARGV[6] longest wait between two asks us   ARGV[7] oldest observation us ('': the provider cannot be asked)
-- ARGV[8] fewest micro-units accepted ('': not divisible)   then per limit: name, kind, cost in micro-units
--
-- Reply, granted: 1, handle, cost in micro-units per limit in the order asked
-- Reply, denied:  0, reason code (see _claim.lua), limit, retry in us
-- Reply, unknown account (never declared, or Redis was emptied): -1
-- include: _clock
-- include: _limits
-- include: _leases
-- include: _tickets
-- include: _claim
local now, ticket, max_age = now_us(), ARGV[2], tonumber(ARGV[7])
local RESET_PRESUMED_IN = 300 * UNIT

local limits = {}
for i = 9, #ARGV, 3 do
  local n = #limits
  limits[n + 1] = {
    name = ARGV[i], kind = ARGV[i + 1], cost = tonumber(ARGV[i + 2]), line = KEYS[3 + 2 * n], book = KEYS[4 + 2 * n],
  }
end

-- Only a claim that a bucket keeps waiting longest stands in line: there, and where else it has or needs a place.
local function queue_up(refusal)
  local waits = false
  for _, limit in ipairs(limits) do
    waits = waits or limit.name == refusal.limit and limit.kind == BUCKET and refusal.reason <= WAITING
  end
  if ticket == '' or not waits then return end
  local expires = now + math.min(refusal.retry_in, tonumber(ARGV[6])) + tonumber(ARGV[5])
  for _, limit in ipairs(limits) do
    if limit.refused or limit.queued then take_ticket(limit.line, limit.book, ticket, limit.cost, expires) end
  end
end

-- Where the provider can neither be asked nor has said when a quota resets, one request tries it now and then.
local function presume_resets()
  for _, limit in ipairs(limits) do
    if limit.unknown_reset and not max_age then
      redis.call('HSET', KEYS[1], limit.name .. '.reset', int(now + RESET_PRESUMED_IN))
    end
  end
end

local function take(state, limit, changed)
  local name = limit.name
  if limit.kind == BUCKET then
    changed[name .. '.level'], changed[name .. '.at'] = level_at(state, name, now) - limit.cost, now
  else
    if reset_passed(state, name, now) then changed.half, changed[name .. '.from'] = now, now end
    changed[name .. '.left'] = left_of(state, name, max_age, now) - limit.cost
  end
  changed[name .. '.G'] = (state[name .. '.G'] or 0) + limit.cost
  return name .. '=' .. limit.kind .. '=' .. int(limit.cost) .. '=' .. int(state[name .. '.S'] or 0)
end

local state = read_state(KEYS[1], limits)
if not state.lapse_at then return {-1} end
tend_leases(KEYS[1], KEYS[2], state, limits, now)

local refusal = check_claim(state, KEYS[2], limits, ticket, tonumber(ARGV[8]), max_age, now)
for _, limit in ipairs(limits) do
  if not refusal and limit.queued then table.insert(limit.dead, ticket) end
  if limit.dead then tear_up(limit.line, limit.book, limit.dead) end
end
if refusal then
  queue_up(refusal)
  presume_resets()
  return {0, refusal.reason, refusal.limit, refusal.retry_in}
end

local changed, parts, reply = {}, {}, {1, ''}
for i, limit in ipairs(limits) do
  parts[i] = take(state, limit, changed)
  reply[i + 2] = limit.cost
end
write_state(KEYS[1], changed)
reply[2] = ARGV[3] .. ':' .. int(now) .. ':' .. table.concat(parts, ';')
redis.call('ZADD', KEYS[2], int(now + tonumber(ARGV[4])), reply[2])
return reply
