-- Notes the moment and the totals before the provider is asked; observe.lua needs them.
--
-- KEYS[1] account state
-- ARGV[1] now us ('': the server's clock)   then per limit: name, kind
-- Reply: the mark, in a lease's form with every cost 0
-- include: _clock
-- include: _limits
local parts = {}
for i = 2, #ARGV, 2 do
  local settled = redis.call('HGET', KEYS[1], ARGV[i] .. '.S') or 0
  parts[#parts + 1] = ARGV[i] .. '=' .. ARGV[i + 1] .. '=0=' .. int(tonumber(settled) or 0)
end
return 'mark:' .. int(now_us()) .. ':' .. table.concat(parts, ';')
