local call = redis.call
local P = 'rtckit:1:'
local EPOCH, ROOMS, LOST, INSTANCES = P .. 'epoch', P .. 'rooms', P .. 'lost', P .. 'instances'

local function now()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Why it is not yet the time to change anything; nil when it is.
local function unsettled()
  local born = call('HGET', EPOCH, 'born')
  if not born then return 'lost' end
  if now() - born < WINDOW then return 'wait' end
end

local function members(room) return P .. 'room:' .. room end
local function key(room, id) return P .. 'member:' .. room .. ':' .. id end
local function guests(instance) return P .. 'guests:' .. instance end
local function place(room, id) return room .. ' ' .. id end
local function number(entry) return tonumber(string.match(entry, '^%d+')) end
local function post(instance, text) call('PUBLISH', P .. 'instance:' .. instance, text) end

-- Numbers an event, keeps it in case the member has to be told again, and sends it to where the member is.
local function tell(room, id, head, note)
  local member = key(room, id)
  local log = member .. ':log'
  local seq = call('HINCRBY', member, 'sent', 1)
  local text = head .. ',"seq":' .. seq .. '}'
  local entry = seq .. ' ' .. note .. '\n' .. text
  local bytes = #text
  if call('EXISTS', log) == 1 then bytes = bytes + (call('HGET', member, 'bytes') or 0) end
  call('RPUSH', log, entry)
  while bytes > MEMORY do
    local old = call('LPOP', log)
    if not old then bytes = 0 break end
    bytes = bytes - (#old - string.find(old, '\n', 1, true))
  end
  call('HSET', member, 'bytes', bytes)
  call('PEXPIRE', log, KEEP)
  local at = call('HMGET', member, 'host', 'lost')
  if at[1] and not at[2] then post(at[1], 'event ' .. id .. ' ' .. entry) end
end

local function tell_others(room, id, head, note)
  for _, other in ipairs(call('LRANGE', members(room), 0, -1)) do
    if other ~= id then tell(room, other, head, note) end
  end
end

local function remove(room, id)
  local member = key(room, id)
  local host = call('HGET', member, 'host')
  if host then call('SREM', guests(host), place(room, id)) end
  call('ZREM', LOST, place(room, id))
  call('LREM', members(room), 0, id)
  call('DEL', member, member .. ':log')
  if call('EXISTS', members(room)) == 0 then
    call('SREM', ROOMS, room)
  else
    tell_others(room, id, '{"type":"bye","id":"' .. id .. '"', '-' .. id)
  end
end

local function lose(room, id, at)
  call('HSET', key(room, id), 'lost', at)
  call('ZADD', LOST, at + RESUME, place(room, id))
  call('PEXPIRE', key(room, id) .. ':log', KEEP)
end

local function tell_lost(room, id) tell_others(room, id, '{"type":"lost","id":"' .. id .. '"', '.') end

local function find(room, id)
  call('HDEL', key(room, id), 'lost')
  call('ZREM', LOST, place(room, id))
end

-- Whether all that came after the event `seen` is still known.
local function remembers(room, id, seen)
  local sent = tonumber(call('HGET', key(room, id), 'sent'))
  local first = call('LINDEX', key(room, id) .. ':log', 0)
  local oldest = first and number(first) or sent + 1
  return oldest <= seen + 1 and seen <= sent
end

local function events_after(room, id, seen)
  local found = {}
  for _, entry in ipairs(call('LRANGE', key(room, id) .. ':log', 0, -1)) do
    if number(entry) > seen then found[#found + 1] = entry end
  end
  return found
end
