local instance, room, id, token, info, connection, came, old, secret, seen, back = unpack(ARGV)
local why = unsettled()
if why then return { why } end
-- One that was taken for dead says hello first: else nobody would notice when it dies.
if not call('ZSCORE', INSTANCES, instance) then return { 'lost' } end

local gone = ''
local function seat(how, id, seen)
  local facts = call('HMGET', key(room, id), 'token', 'info', 'sent', 'received', 'op')
  local peers = {}
  for _, other in ipairs(call('LRANGE', members(room), 0, -1)) do
    if other ~= id then peers[#peers + 1] = call('HGET', key(room, other), 'info') end
  end
  return { how, id, facts[1], facts[2], facts[3], facts[4], facts[5], peers, events_after(room, id, seen), gone }
end

local function host(id)
  find(room, id)
  call('HSET', key(room, id), 'host', instance, 'connection', connection)
  call('SADD', guests(instance), place(room, id))
end

local function is_here(id)
  local at = call('HMGET', key(room, id), 'host', 'connection')
  return at[1] == instance and at[2] == connection
end

-- The answer may have been lost on its way, and this is the same once more.
if is_here(id) then return seat('new', id, 0) end
if old ~= '' and call('HGET', key(room, old), 'token') == secret then
  seen = tonumber(seen) or tonumber(call('HGET', key(room, old), 'sent'))
  if is_here(old) then return seat('resumed', old, seen) end
  local at = call('HMGET', key(room, old), 'host', 'connection')
  post(at[1], 'close ' .. old .. ' ' .. at[2])
  if remembers(room, old, seen) then
    call('SREM', guests(at[1]), place(room, old))
    host(old)
    tell_others(room, old, back, '.')
    return seat('resumed', old, seen)
  end
  remove(room, old)
end

local there = call('LLEN', members(room))
if there >= MAX_PEERS then
  -- Who has been lost for longest makes room.
  local since = now() - HOLD
  for _, other in ipairs(call('LRANGE', members(room), 0, -1)) do
    local lost = tonumber(call('HGET', key(room, other), 'lost') or nil)
    if lost and lost <= since then gone, since = other, lost end
  end
  if gone == '' then return { 'full' } end
  remove(room, gone)
  there = there - 1
end
if there == 0 and call('SCARD', ROOMS) >= MAX_ROOMS then return { 'rooms' } end
call('HSET', key(room, id), 'token', token, 'info', info, 'sent', 0, 'received', 0, 'op', 0)
call('RPUSH', members(room), id)
call('SADD', ROOMS, room)
host(id)
tell_others(room, id, came, '+' .. id)
return seat('new', id, 0)
