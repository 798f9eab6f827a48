-- The account as it stands. Changes nothing.
--
-- KEYS[1] account state   KEYS[2] leases   then per limit: line, book
-- ARGV[1] now us ('': the server's clock)   ARGV[2] oldest observation us ('': the provider cannot be asked)
-- then per limit: name, kind
--
-- Reply: now, seen, paused until, paused kind, paused why, half open (1, 0), live leases, then reason code, limit and
-- retry in us of a claim of one unit of every limit by somebody without a ticket (reason 0: it would be granted), then
-- per limit: level or left, capacity, rate, reset, outstanding, live tickets in line. Numbers in micro-units and us;
-- '' where unknown.
-- include: _clock
-- include: _limits
-- include: _tickets
-- include: _claim
local now, max_age, limits = now_us(), tonumber(ARGV[2]), {}
for i = 3, #ARGV, 2 do
  limits[#limits + 1] = {name = ARGV[i], kind = ARGV[i + 1], cost = UNIT, line = KEYS[i], book = KEYS[i + 1]}
end
local state, refusal = read_state(KEYS[1], limits), nil
if state.lapse_at then refusal = check_claim(state, KEYS[2], limits, '', nil, max_age, now)
else refusal = refuse(UNOBSERVED, 'account', 0) end
refusal = refusal or {reason = 0, limit = '', retry_in = 0}

local function live_tickets(limit)
  local count = 0
  for _, text in ipairs(redis.call('HVALS', limit.book)) do
    if tonumber(string.match(text, ':(%d+)$')) > now then count = count + 1 end
  end
  return count
end

local function text(value) return value and int(value) or '' end
local why = redis.call('HMGET', KEYS[1], 'paused_kind', 'paused_why')
local reply = {
  int(now), text(state.seen), text(state.paused), why[1] or '', why[2] or '', (state.half or 0) > 0 and 1 or 0,
  redis.call('ZCOUNT', KEYS[2], '(' .. int(now), '+inf'), refusal.reason, refusal.limit, refusal.retry_in,
}
for _, limit in ipairs(limits) do
  local name, is_bucket = limit.name, limit.kind == BUCKET
  local left = is_bucket and level_at(state, name, now) or not is_bucket and left_of(state, name, max_age, now)
  reply[#reply + 1] = text(left)
  reply[#reply + 1] = text(state[name .. '.cap'])
  reply[#reply + 1] = text(state[name .. '.rate'])
  reply[#reply + 1] = text(not reset_is_old(state, name) and state[name .. '.reset'])
  reply[#reply + 1] = text(outstanding(state, name))
  reply[#reply + 1] = live_tickets(limit)
end
return reply
