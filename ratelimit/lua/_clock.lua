-- The server's clock in microseconds. ARGV[1] overrides it where a test steps time by hand.
local function now_us()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Whole number as text: Lua's own conversion keeps 14 digits only, a time in microseconds has 16.
local function int(number) return string.format('%d', number) end
