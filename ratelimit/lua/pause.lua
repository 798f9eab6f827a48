-- Closes the account, or opens it again.
--
-- KEYS[1] account state
-- ARGV[1] now us ('': the server's clock)   ARGV[2] for us (0: open)   ARGV[3] kind: operator, account, retry_after
-- ARGV[4] why, for people   ARGV[5] 1: one request goes ahead when it opens
-- Reply: 1 changed, 0 left as it was (only what closed it, or an operator, opens it; a longer closing stays)
-- include: _clock
-- include: _limits
local now, for_us, kind = now_us(), tonumber(ARGV[2]), ARGV[3]
local state = read_state(KEYS[1], {})
local closed_by = state.paused and now < state.paused and redis.call('HGET', KEYS[1], 'paused_kind')
if for_us == 0 then
  if not closed_by or (closed_by ~= kind and kind ~= 'operator') then return 0 end
  redis.call('HDEL', KEYS[1], 'paused', 'paused_kind', 'paused_why')
else
  if closed_by and (closed_by == 'operator' and kind ~= 'operator' or state.paused >= now + for_us) then return 0 end
  redis.call('HSET', KEYS[1], 'paused', int(now + for_us), 'paused_kind', kind, 'paused_why', ARGV[4])
end
if ARGV[5] == '1' then redis.call('HSET', KEYS[1], 'half', int(now + for_us)) end
return 1
