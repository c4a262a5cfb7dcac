-- One exchange of one gate (ftpgate/leases.py), by the rules of ftpgate/shaping/leases/rules.py, with its names and figures.
--
-- KEYS[1]: what all keys begin with. Of one server: the others are made here, and a cluster would not know them.
--   gates             hash    gate -> when it last called
--   at:CUSTOMER       hash    "=" -> debt, at; ":GATE" -> sent, use, hungry, used, wanted, bound, given, seen, state (MessagePack)
--   of:GATE           set     customers that it serves
--   called:GATE       set     customers that it should report
-- ARGV: gate, time ('' for the server's), numbers of reports, leaves and ended gates; for each report customer rate places sent use
-- hungry used wanted bound; for each leave customer sent; the ended gates.
-- Answers, flat: whether the gate was known; the number of answers and five figures of each; the customers that it should report.

local TTL, SAVED, OWED, REPAY, LEAST, MOST = 3.0, 0.3, 0.5, 2.0, 0.25, 1.1
local FLOOR, CALLED_FLOOR, EASE, EASE_RATE, PAID = 0.1, 0.4, 1.3, 0.03, 0.05
local REPORTS, ALONE, CALLED = 0, 1, 2
local prefix, gate, now = KEYS[1], ARGV[1], tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local max, min, floor = math.max, math.min, math.floor

local function key_of(customer) return prefix .. 'at:' .. customer end

local function forget_if_empty(key)
  if redis.call('HLEN', key) <= 1 then redis.call('DEL', key) end
end

local function drop(other)
  local theirs = prefix .. 'of:' .. other
  for _, customer in ipairs(redis.call('SMEMBERS', theirs)) do
    redis.call('HDEL', key_of(customer), ':' .. other)
    forget_if_empty(key_of(customer))
  end
  redis.call('DEL', theirs, prefix .. 'called:' .. other)
  redis.call('HDEL', prefix .. 'gates', other)
end

local function parse(packed)
  local f = cmsgpack.unpack(packed)
  return {sent = f[1], use = f[2], hungry = f[3], used = f[4], wanted = f[5], bound = f[6], given = f[7], seen = f[8], state = f[9]}
end

local function pack(m)
  return cmsgpack.pack({m.sent, m.use, m.hungry, m.used, m.wanted, m.bound, m.given, m.seen, m.state})
end

local function sent_since(m, sent, pace)
  local new = max(sent - m.sent, 0)
  if m.state == REPORTS then return new end
  return min(new, pace * max(now - m.seen, 0))
end

-- Debt, its time, this gate's part or nil, the parts of the others by gate, and how many.
local function load(customer)
  local h = redis.call('HGETALL', key_of(customer))
  local debt, at, me, others, number = 0, 0, nil, {}, 0
  for i = 1, #h, 2 do
    if h[i] == '=' then
      local account = cmsgpack.unpack(h[i + 1])
      debt, at = account[1], account[2]
    elseif h[i] == ':' .. gate then me = parse(h[i + 1])
    else others[h[i]] = parse(h[i + 1]); number = number + 1 end
  end
  return debt, at, me, others, number
end

local function keep(customer, debt, at)
  redis.call('HSET', key_of(customer), '=', cmsgpack.pack({debt, at}))
end

local function share(rate, known, use, hungry, others, number)
  local pool = min(max(rate - known / REPAY, LEAST * rate), MOST * rate)
  if number == 0 then return pool end
  if hungry == 0 then return min(max(EASE * use, use + EASE_RATE * rate), pool) end
  local weight, taken, least = hungry, 0, FLOOR
  for _, m in pairs(others) do
    if m.state == CALLED then taken, least = taken + m.given, CALLED_FLOOR
    elseif m.hungry > 0 then weight = weight + m.hungry
    else taken = taken + m.use end
  end
  return max(pool - taken, least * pool) * hungry / weight
end

local function places_of(places, used, wanted, others, number)
  if number == 0 then return places end
  local held, taken = 0, 0
  for _, m in pairs(others) do
    held = held + m.bound
    taken = taken + (m.state == CALLED and m.bound or m.used + m.wanted)
  end
  local spare = max(places - taken - used - wanted, 0)
  return max(used, min(used + wanted + floor(spare / (number + 1)), places - held))
end

local function settle(customer, rate, places, sent, use, hungry, used, wanted, bound)
  local debt, at, me, others, number = load(customer)
  debt = debt + (me and sent_since(me, sent, use) or 0) - rate * max(now - at, 0)
  if not me and number == 0 then debt = 0 end
  local unheard, awaited = 0, false
  for name, m in pairs(others) do
    if m.state == ALONE then
      m.state, m.seen, debt = CALLED, now, 0
      redis.call('HSET', key_of(customer), name, pack(m))
      redis.call('SADD', prefix .. 'called' .. name, customer)
    end
  end
  for _, m in pairs(others) do
    local pace = (m.state == CALLED or m.hungry > 0) and m.given or min(m.use, m.given)
    unheard = unheard + pace * max(now - m.seen, 0)
    awaited = awaited or m.state == CALLED
  end
  local known = min(max(debt + unheard, -SAVED * rate), OWED * rate)
  local alone = number == 0 and known <= PAID * rate
  local given = alone and rate or share(rate, known, use, hungry, others, number)
  local allowed = places_of(places, used, wanted, others, number)
  keep(customer, known - unheard, now)
  redis.call('HSET', key_of(customer), ':' .. gate, pack({sent = sent, use = use, hungry = hungry, used = used, wanted = wanted,
    bound = max(allowed, bound), given = given, seen = now, state = alone and ALONE or REPORTS}))
  if not me then redis.call('SADD', prefix .. 'of:' .. gate, customer) end
  if me and me.state == CALLED then redis.call('SREM', prefix .. 'called:' .. gate, customer) end
  local shown = rate == 0 and 0 or max(floor(given), 1)
  return string.format('%.0f', shown), allowed, number + 1, alone and 1 or 0, awaited and 1 or 0
end

local reports, leaves, ended = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local first_leave = 6 + 9 * reports
local first_ended = first_leave + 2 * leaves
local own_end = false
for i = first_ended, first_ended + ended - 1 do
  drop(ARGV[i])
  own_end = own_end or ARGV[i] == gate
end
if own_end then return {1, 0} end

local gates = redis.call('HGETALL', prefix .. 'gates')
local seen
for i = 1, #gates, 2 do
  if gates[i] == gate then seen = tonumber(gates[i + 1]) end
end
local excused = seen and math.abs(now - seen) > TTL / 2
for i = 1, #gates, 2 do
  if excused then redis.call('HSET', prefix .. 'gates', gates[i], string.format('%.17g', now))
  elseif gates[i] ~= gate and math.abs(now - tonumber(gates[i + 1])) > TTL then drop(gates[i]) end
end
redis.call('HSET', prefix .. 'gates', gate, string.format('%.17g', now))

for i = first_leave, first_ended - 1, 2 do
  local customer = ARGV[i]
  local debt, at, me, _, number = load(customer)
  if me then
    keep(customer, debt + sent_since(me, tonumber(ARGV[i + 1]), me.given), at)
    redis.call('HDEL', key_of(customer), ':' .. gate)
    redis.call('SREM', prefix .. 'of:' .. gate, customer)
    redis.call('SREM', prefix .. 'called:' .. gate, customer)
    if number == 0 then redis.call('DEL', key_of(customer)) end
  end
end

local answer = {seen and 1 or 0, reports}
for i = 6, first_leave - 1, 9 do
  local figures = {settle(ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]),
    tonumber(ARGV[i + 5]), tonumber(ARGV[i + 6]), tonumber(ARGV[i + 7]), tonumber(ARGV[i + 8]))}
  for _, figure in ipairs(figures) do answer[#answer + 1] = figure end
end
for _, customer in ipairs(redis.call('SMEMBERS', prefix .. 'called:' .. gate)) do answer[#answer + 1] = customer end
return answer
