-- An instance is here. What another run of Redis left behind is of no use: it may be old.
local instance = ARGV[1]
local run = string.match(call('INFO', 'server'), 'run_id:(%w+)')
if call('HGET', EPOCH, 'run') ~= run then
  for _, room in ipairs(call('SMEMBERS', ROOMS)) do
    for _, id in ipairs(call('LRANGE', members(room), 0, -1)) do call('DEL', key(room, id), key(room, id) .. ':log') end
    call('DEL', members(room))
  end
  for _, other in ipairs(call('ZRANGE', INSTANCES, 0, -1)) do call('DEL', guests(other)) end
  call('DEL', ROOMS, LOST, INSTANCES)
  call('HSET', EPOCH, 'run', run, 'born', now())
end
call('ZADD', INSTANCES, now() + TTL, instance)
return { 'ok' }
