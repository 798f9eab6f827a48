-- Takes the first message of the first list that has one, into that list's in-flight list.
-- Lists stand in the order in which they are served. Never waits.
--
-- KEYS: list, in-flight list, list, in-flight list, …
-- Reply: number of the list (from 1), message; or nothing
for i = 1, #KEYS, 2 do
  local message = redis.call('LMOVE', KEYS[i], KEYS[i + 1], 'RIGHT', 'LEFT')
  if message then return {(i + 1) / 2, message} end
end
return false
