-- Folds in an answer to a question that reserved nothing (a provider's free endpoint).
--
-- KEYS[1] account state
-- ARGV[1] now us ('': the server's clock)   ARGV[2] mark (mark.lua)   then the observations (_observe.lua)
-- Reply: 1, unknown account (never declared, or Redis was emptied): -1
-- include: _clock
-- include: _limits
-- include: _observe
local now = now_us()
local _, start, parts = parse_handle(ARGV[2])
local observations = parse_observations(3)
local state, changed = read_state(KEYS[1], observations), {}
if not state.lapse_at then return -1 end
fold_in(state, observations, start, parts, now, changed)
write_state(KEYS[1], changed)
return 1
