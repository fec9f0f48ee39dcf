local instance, room, id, connection, op, seq, to, head = unpack(ARGV)
local why = unsettled()
if why then return { why } end
local facts = call('HMGET', key(room, id), 'host', 'connection', 'op', 'received')
if facts[1] ~= instance or facts[2] ~= connection then return { 'gone' } end
-- Done already, and only the answer was lost.
if tonumber(op) <= tonumber(facts[3]) then return { 'ok', 1 } end
call('HSET', key(room, id), 'op', op)
if seq ~= '' then
  if tonumber(seq) <= tonumber(facts[4]) then return { 'ok', 1 } end
  call('HSET', key(room, id), 'received', seq)
end
local told = 0
for _, other in ipairs(call('LRANGE', members(room), 0, -1)) do
  if other ~= id and (to == '' or to == other) then
    -- What was told before Redis lost its memory is not told again.
    local heard = call('HGET', key(room, other), 'heard:' .. id)
    if not heard or tonumber(heard) < tonumber(op) then tell(room, other, head, '=' .. id .. ':' .. op) end
    told = told + 1
  end
end
return { 'ok', told }
