-- The moment in which members were restored is over: who is in the room that this one was not told of?
local instance, room, id, connection = unpack(ARGV, 1, 4)
local why = unsettled()
if why then return { why } end
local at = call('HMGET', key(room, id), 'host', 'connection')
if at[1] ~= instance or at[2] ~= connection then return { 'gone' } end
local known = { [id] = true }
for at_id = 5, #ARGV do known[ARGV[at_id]] = true end
for _, entry in ipairs(call('LRANGE', key(room, id) .. ':log', 0, -1)) do
  local came = string.match(entry, '^%d+ %+(%S+)\n')
  if came then known[came] = true end
end
for _, other in ipairs(call('LRANGE', members(room), 0, -1)) do
  if not known[other] then
    local info = call('HGET', key(room, other), 'info')
    tell(room, id, '{"type":"otherjoin",' .. string.sub(info, 2, -2), '+' .. other)
  end
end
return { 'ok' }
