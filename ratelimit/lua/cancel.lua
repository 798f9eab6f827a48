-- Gives back a reservation whose request was never sent.
--
-- KEYS[1] account state   KEYS[2] leases   ARGV[1] now us ('': the server's clock)   ARGV[2] handle
-- Reply: 1 given back, 0 the lease had lapsed before
-- include: _clock
-- include: _limits
-- include: _observe
local now = now_us()
local _, start, parts = parse_handle(ARGV[2])
if redis.call('ZREM', KEYS[2], ARGV[2]) == 0 then return 0 end
local state, changed = read_state(KEYS[1], parts), {}
for _, part in ipairs(parts) do
  local name = part.name
  changed[name .. '.S'] = (state[name .. '.S'] or 0) + part.cost
  if part.kind == BUCKET and state[name .. '.level'] then
    changed[name .. '.level'] = math.min(state[name .. '.cap'], level_at(state, name, now) + part.cost)
    changed[name .. '.at'] = now
  elseif part.kind == QUOTA and state[name .. '.left'] and start >= (state[name .. '.from'] or 0) then
    changed[name .. '.left'] = state[name .. '.left'] + part.cost
  end
end
write_state(KEYS[1], changed)
return 1
