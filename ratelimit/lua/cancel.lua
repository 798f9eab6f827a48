-- Gives back a reservation whose request was never sent.
--
-- KEYS[1] account state   KEYS[2] leases   ARGV[1] now us ('': the server's clock)   ARGV[2] handle
-- Reply: 1 given back, 0 the lease had lapsed before
-- include: _clock
-- include: _limits
local now = now_us()
local _, start, parts = parse_handle(ARGV[2])
if redis.call('ZREM', KEYS[2], ARGV[2]) == 0 then return 0 end
local state, changed = read_state(KEYS[1], parts), {}
for _, part in ipairs(parts) do settle_part(state, part, part.cost, start, now, changed) end
write_state(KEYS[1], changed)
return 1
