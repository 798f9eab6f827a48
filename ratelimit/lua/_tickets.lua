-- The waiting list of one bucket: who was denied, in order, and what they will take. `line` is a sorted set
-- ticket -> number in line, `book` a hash ticket -> cost:expires.
local LONGEST_LOOK = 500
local KEPT_MS = 3600000

-- Cost of the live claims that asked before `mine` (of all where it has no ticket), whether `mine` has one, and the
-- dead tickets met on the way. A line longer than LONGEST_LOOK counts as that long.
local function look_ahead(line, book, mine, now)
  local queue, ahead, dead = redis.call('ZRANGE', line, 0, LONGEST_LOOK - 1), 0, {}
  if #queue == 0 then return 0, false, dead end
  local texts = redis.call('HMGET', book, unpack(queue))
  for i, ticket in ipairs(queue) do
    if ticket == mine then return ahead, true, dead end
    local cost, expires = string.match(texts[i] or '', '^(%d+):(%d+)$')
    if cost and tonumber(expires) > now then ahead = ahead + tonumber(cost) else dead[#dead + 1] = ticket end
  end
  return ahead, false, dead
end

local function tear_up(line, book, tickets)
  if #tickets == 0 then return end
  redis.call('ZREM', line, unpack(tickets))
  redis.call('HDEL', book, unpack(tickets))
end

-- Joins the line, or says «still here» with its place kept.
local function take_ticket(line, book, ticket, cost, expires)
  if not redis.call('ZSCORE', line, ticket) then
    local last = redis.call('ZREVRANGE', line, 0, 0, 'WITHSCORES')[2]
    redis.call('ZADD', line, int((tonumber(last) or 0) + 1), ticket)
  end
  redis.call('HSET', book, ticket, int(cost) .. ':' .. int(expires))
  redis.call('PEXPIRE', line, KEPT_MS)
  redis.call('PEXPIRE', book, KEPT_MS)
end
