-- An instance is still here; what others that are not left behind, and who did not come back in time, is cleared away.
local instance = ARGV[1]
if call('EXISTS', EPOCH) == 0 or not call('ZSCORE', INSTANCES, instance) then return { 'lost' } end
local time = now()
call('ZADD', INSTANCES, time + TTL, instance)
for _, other in ipairs(call('ZRANGEBYSCORE', INSTANCES, '-inf', time)) do
  for _, guest in ipairs(call('SMEMBERS', guests(other))) do
    local room, id = string.match(guest, '^(%S+) (%S+)$')
    local at = call('HMGET', key(room, id), 'host', 'lost')
    if at[1] == other and not at[2] then
      lose(room, id, time)
      tell_lost(room, id)
    end
  end
  call('DEL', guests(other))
  call('ZREM', INSTANCES, other)
end
local gone = {}
for _, guest in ipairs(call('ZRANGEBYSCORE', LOST, '-inf', time, 'LIMIT', 0, 100)) do
  local room, id = string.match(guest, '^(%S+) (%S+)$')
  remove(room, id)
  gone[#gone + 1] = guest
end
post(instance, 'beat')
return { 'ok', gone }
