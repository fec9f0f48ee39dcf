-- A member that an instance has, after the instance or Redis was away.
local instance, room, id, token, info, connection, lost, sent, received, op, heard = unpack(ARGV, 1, 11)
local member = key(room, id)
local at = call('HMGET', member, 'host', 'connection', 'ghost')
local born = call('HGET', EPOCH, 'born')
if at[1] and not at[3] then
  if at[1] ~= instance or at[2] ~= connection then return { 'replaced' } end
  if lost == '1' then
    if call('HEXISTS', member, 'lost') == 0 then lose(room, id, now()) end
    return { 'ok', {} }
  end
  find(room, id)
  call('SADD', guests(instance), place(room, id))
  if not remembers(room, id, tonumber(sent)) then return { 'behind' } end
  return { 'ok', events_after(room, id, tonumber(sent)) }
end
if unsettled() ~= 'wait' then return { 'gone' } end

if not at[3] then call('RPUSH', members(room), id) end
call('SADD', ROOMS, room)
call('DEL', member .. ':log')
call('HDEL', member, 'ghost', 'lost')
call('HSET', member, 'token', token, 'info', info, 'sent', sent, 'received', received, 'op', op)
call('HSET', member, 'host', instance, 'connection', connection)
call('SADD', guests(instance), place(room, id))
call('ZREM', LOST, place(room, id))
if lost == '1' then lose(room, id, now()) end
local at_pair = 12
for _ = 1, tonumber(heard) do
  call('HSET', member, 'heard:' .. ARGV[at_pair], ARGV[at_pair + 1])
  at_pair = at_pair + 2
end
-- Whom it knows of keeps the place until it is restored as well, or it is too late for that.
while ARGV[at_pair] do
  local other = ARGV[at_pair]
  if call('EXISTS', key(room, other)) == 0 then
    call('HSET', key(room, other), 'token', '', 'info', ARGV[at_pair + 1], 'sent', 0, 'received', 0, 'op', 0, 'ghost', 1)
    call('RPUSH', members(room), other)
    call('ZADD', LOST, born + WINDOW, place(room, other))
  end
  at_pair = at_pair + 2
end
return { 'anew' }
