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
-- include: _health
local now, well = now_us(), tonumber(ARGV[3])
local _, start, parts = parse_handle(ARGV[2])
local consumed, behind = {}, 8 + 2 * tonumber(ARGV[7])
for i = 8, behind - 1, 2 do consumed[ARGV[i]] = tonumber(ARGV[i + 1]) end
local observations = parse_observations(behind)

local known, limits = {}, {}
for _, list in ipairs({parts, observations}) do
  for _, limit in ipairs(list) do
    if not known[limit.name] then limits[#limits + 1] = limit end
    known[limit.name] = true
  end
end
local state, changed = read_state(KEYS[1], limits), {}
local live = redis.call('ZREM', KEYS[2], ARGV[2])
if live == 1 then
  for _, part in ipairs(parts) do
    settle_part(state, part, part.cost - (consumed[part.name] or part.cost), start, now, changed)
  end
end

local took = math.max(0, now - start)
local usual = state.latency or took
changed.latency = math.floor(usual + (took - usual) / 16)

fold_in(state, observations, start, parts, now, changed)
count_fault(state, well, start, now, changed)
write_state(KEYS[1], changed)
if changed.paused then
  redis.call('HSET', KEYS[1], 'paused_kind', 'faults', 'paused_why', 'the provider failed several times in a row')
end
return live
