-- The account as it stands. Changes nothing.
--
-- KEYS[1] account state   KEYS[2] leases   then per limit: line, book
-- ARGV[1] now us ('': the server's clock)   ARGV[2] oldest observation us ('': the provider cannot be asked)
-- then per limit: name, kind
--
-- Reply: now, seen, paused until, paused kind, paused why, half open, live leases, reason code and limit and retry in us
-- of a claim of one unit of every limit (reason 0: it would be granted), then per limit: level or left, capacity, rate,
-- reset, outstanding, tickets in line. Numbers in micro-units and us; '' where unknown.
-- include: _clock
-- include: _limits
-- include: _tickets
-- include: _claim
local now, max_age, limits = now_us(), tonumber(ARGV[2]), {}
for i = 3, #ARGV, 2 do limits[#limits + 1] = {name = ARGV[i], kind = ARGV[i + 1], cost = UNIT} end
local state = read_state(KEYS[1], limits)
local refusal = state.lapse_at and check_claim(state, KEYS[2], limits, '', nil, max_age, now)
  or not state.lapse_at and refuse(UNOBSERVED, 'account', 0) or {reason = 0, limit = '', retry_in = 0}
local function text(value) return value and (type(value) == 'number' and int(value) or value) or '' end
local reply = {
  int(now), text(state.seen), text(state.paused), text(state.paused_kind), text(state.paused_why), text(state.half),
  redis.call('ZCOUNT', KEYS[2], '(' .. int(now), '+inf'), refusal.reason, refusal.limit, refusal.retry_in,
}
for i, limit in ipairs(limits) do
  local name = limit.name
  local left = limit.kind == BUCKET and level_at(state, name, now) or state[name .. '.left']
  reply[#reply + 1] = text(left)
  reply[#reply + 1] = text(state[name .. '.cap'])
  reply[#reply + 1] = text(state[name .. '.rate'])
  reply[#reply + 1] = text(state[name .. '.reset'])
  reply[#reply + 1] = text((state[name .. '.G'] or 0) - (state[name .. '.S'] or 0))
  reply[#reply + 1] = redis.call('ZCARD', KEYS[1 + 2 * i])
end
return reply
