-- The waiting list of one bucket: who was denied, in order, and what they will take. `line` is a sorted set
-- ticket -> number in line, `book` a hash ticket -> cost:expires:cost of all who queued before.

local function read_ticket(book, ticket)
  local text = redis.call('HGET', book, ticket)
  if not text then return nil end
  local cost, expires, before = string.match(text, '^(%d+):(%d+):(%d+)$')
  return {cost = tonumber(cost), expires = tonumber(expires), before = tonumber(before)}
end

local function tear_up(line, book, ticket)
  redis.call('ZREM', line, ticket)
  redis.call('HDEL', book, ticket)
end

-- The oldest ticket that is still alive; dead ones in front of it are torn up.
local function head_of_line(line, book, mine, now)
  while true do
    local head = redis.call('ZRANGE', line, 0, 0)[1]
    if not head then return nil end
    local ticket = read_ticket(book, head)
    if ticket and (head == mine or ticket.expires > now) then return ticket, head end
    tear_up(line, book, head)
  end
end

-- Cost of the live claims that asked before `mine` (all of them where it has no ticket yet), at least.
local function cost_ahead(state, name, line, book, mine, now)
  local head = head_of_line(line, book, mine, now)
  if not head then return 0, false end
  local own = mine ~= '' and read_ticket(book, mine)
  return math.max(0, (own and own.before or state[name .. '.W'] or 0) - head.before), true
end

-- Joins the line, or says «still here» with its place kept.
local function take_ticket(state_key, state, name, line, book, ticket, cost, expires)
  local own = read_ticket(book, ticket)
  local before = own and own.before
  if not own then
    before = redis.call('ZCARD', line) == 0 and 0 or (state[name .. '.W'] or 0)
    local last = redis.call('ZREVRANGE', line, 0, 0, 'WITHSCORES')
    redis.call('ZADD', line, (tonumber(last[2]) or 0) + 1, ticket)
    redis.call('HSET', state_key, name .. '.W', int(before + cost))
  end
  redis.call('HSET', book, ticket, int(cost) .. ':' .. int(expires) .. ':' .. int(before))
  redis.call('PEXPIRE', line, 3600000)
  redis.call('PEXPIRE', book, 3600000)
end
