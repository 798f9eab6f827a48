-- Ends a reservation: refunds what was not consumed, folds in what the provider said, counts faults.
--
-- KEYS[1] account state   KEYS[2] leases
-- ARGV[1] now us ('': the server's clock)   ARGV[2] handle   ARGV[3] how the provider fared: 1 well, 0 neither, -1 fault
-- ARGV[4] faults in a row that close the account (0: never)   ARGV[5] first closing us   ARGV[6] longest closing us
-- ARGV[7] count of consumed amounts, then name, micro-units each   then the observations (_observe.lua)
--
-- Reply: 1 settled, 0 the lease had lapsed before (nothing is refunded; observations count all the same)
-- include: _clock
-- include: _limits
-- include: _observe
local now, well = now_us(), tonumber(ARGV[3])
local _, start, parts = parse_handle(ARGV[2])
local consumed, at = {}, 8
for _ = 1, tonumber(ARGV[7]) do
  consumed[ARGV[at]] = tonumber(ARGV[at + 1])
  at = at + 2
end
local observations = parse_observations(at)

local known, limits = {}, {}
for _, list in ipairs({parts, observations}) do
  for _, limit in ipairs(list) do
    if not known[limit.name] then
      known[limit.name] = true
      limits[#limits + 1] = limit
    end
  end
end
local state = read_state(KEYS[1], limits)
local live = redis.call('ZREM', KEYS[2], ARGV[2])
local changed = {}

if live == 1 then
  for _, part in ipairs(parts) do
    local name, refund = part.name, part.cost - (consumed[part.name] or part.cost)
    state[name .. '.S'] = (state[name .. '.S'] or 0) + part.cost
    changed[name .. '.S'] = state[name .. '.S']
    if part.kind == BUCKET and state[name .. '.level'] then
      state[name .. '.level'] = math.min(state[name .. '.cap'], level_at(state, name, now) + refund)
      state[name .. '.at'] = now
      changed[name .. '.level'], changed[name .. '.at'] = state[name .. '.level'], now
    elseif part.kind == QUOTA and state[name .. '.left'] and start >= (state[name .. '.from'] or 0) then
      state[name .. '.left'] = state[name .. '.left'] + refund
      changed[name .. '.left'] = state[name .. '.left']
    end
  end
end

-- The slowest response of late, forgotten slowly: it sets how far above the floor a bucket is kept.
local took, usual = math.max(0, now - start), state.latency or 0
changed.latency = took > usual and took or math.floor(usual - (usual - took) / 16)

fold_in(state, observations, start, parts, now, changed)

if well == 1 then
  if state.half == 1 then changed.half = 0 end
  if (state.faults or 0) > 0 then changed.faults = 0 end
  if (state.trips or 0) > 0 then changed.trips = 0 end
elseif well == -1 then
  changed.faults = (state.faults or 0) + 1
  local enough = tonumber(ARGV[4])
  if enough > 0 and (changed.faults >= enough or state.half == 1) and not (state.paused and now < state.paused) then
    local trips = state.trips or 0
    changed.paused = now + math.min(tonumber(ARGV[5]) * 2 ^ math.min(trips, 30), tonumber(ARGV[6]))
    changed.paused_kind, changed.paused_why = 'faults', 'the provider failed several times in a row'
    changed.half, changed.trips = 1, trips + 1
  end
end
write_state(KEYS[1], changed)
return live
