local instance, room, id, connection, for_good = unpack(ARGV)
local at = call('HMGET', key(room, id), 'host', 'connection')
local here = at[1] == instance and at[2] == connection
if for_good == '1' then
  local why = unsettled()
  if why then return { why } end
  if here then remove(room, id) end
elseif here then
  lose(room, id, now())
  tell_lost(room, id)
end
return { 'ok', here and 1 or 0 }
