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
-- include: _tickets
-- include: _claim
local now, ticket, max_age = now_us(), ARGV[2], tonumber(ARGV[7])

local limits = {}
for i = 9, #ARGV, 3 do
  local n = #limits
  limits[n + 1] = {
    name = ARGV[i], kind = ARGV[i + 1], cost = tonumber(ARGV[i + 2]), line = KEYS[3 + 2 * n], book = KEYS[4 + 2 * n],
  }
end

local state = read_state(KEYS[1], limits)
if not state.lapse_at then return {-1} end
lapse_leases(KEYS[1], KEYS[2], state, now)

local refusal = check_claim(state, KEYS[2], limits, ticket, tonumber(ARGV[8]), max_age, now)
if refusal then
  for _, limit in ipairs(limits) do
    if ticket ~= '' and limit.kind == BUCKET and limit.name == refusal.limit and refusal.reason <= WAITING then
      local expires = now + math.min(refusal.retry_in, tonumber(ARGV[6])) + tonumber(ARGV[5])
      take_ticket(KEYS[1], state, limit.name, limit.line, limit.book, ticket, limit.cost, expires)
    end
  end
  return {0, refusal.reason, refusal.limit, refusal.retry_in}
end

local parts, reply, changed = {}, {1, ''}, {}
for _, limit in ipairs(limits) do
  local name = limit.name
  if limit.kind == BUCKET then
    changed[#changed + 1], changed[#changed + 2] = name .. '.level', int(level_at(state, name, now) - limit.cost)
    changed[#changed + 1], changed[#changed + 2] = name .. '.at', int(now)
    if ticket ~= '' and limit.has_line then tear_up(limit.line, limit.book, ticket) end
  else
    local left = state[name .. '.left']
    if reset_passed(state, name, now) then
      left = state[name .. '.cap']
      redis.call('HDEL', KEYS[1], name .. '.reset')
      changed[#changed + 1], changed[#changed + 2] = 'half', '1'
      changed[#changed + 1], changed[#changed + 2] = name .. '.from', int(now)
    end
    changed[#changed + 1], changed[#changed + 2] = name .. '.left', int(left - limit.cost)
  end
  changed[#changed + 1], changed[#changed + 2] = name .. '.G', int((state[name .. '.G'] or 0) + limit.cost)
  parts[#parts + 1] = name .. '=' .. limit.kind .. '=' .. int(limit.cost) .. '=' .. int(state[name .. '.S'] or 0)
  reply[#reply + 1] = limit.cost
end
redis.call('HSET', KEYS[1], unpack(changed))
reply[2] = ARGV[3] .. ':' .. int(now) .. ':' .. table.concat(parts, ';')
redis.call('ZADD', KEYS[2], int(now + tonumber(ARGV[4])), reply[2])
return reply
