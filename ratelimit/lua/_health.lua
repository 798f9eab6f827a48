-- Does the provider work? Faults in a row close the account; after that one request at a time goes ahead until one
-- that started since comes back well. What was under way before tells nothing about now.
--
-- ARGV[4], ARGV[5], ARGV[6] as in settle.lua. A fault that closes the account sets changed.paused.
local function count_fault(state, well, start, now, changed)
  local half, trips, faults = state.half or 0, state.trips or 0, state.faults or 0
  local tried = half > 0 and start >= half
  if well == 1 then
    if tried then changed.half = 0 end
    if faults > 0 then changed.faults = 0 end
    if trips > 0 and (tried or half == 0) then changed.trips = 0 end
  elseif well == -1 then
    changed.faults = faults + 1
    local enough = tonumber(ARGV[4])
    local trips_now = tried or half == 0 and changed.faults >= enough
    if enough == 0 or not trips_now or state.paused and now < state.paused then return end
    changed.paused = now + math.min(tonumber(ARGV[5]) * 2 ^ math.min(trips, 30), tonumber(ARGV[6]))
    changed.half, changed.trips = changed.paused, trips + 1
  end
end
