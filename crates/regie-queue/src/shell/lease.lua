local jobs = redis.call('lrange', KEYS[1], 0, ARGV[2] - 1)
if #jobs == 0 then return jobs end
redis.call('ltrim', KEYS[1], #jobs, -1)
redis.call('ltrim', KEYS[3], #jobs, -1)
local out, adds = {}, {}
local function recode(job)
  local decoded = cjson.decode(job)
  decoded['attempts'] = decoded['attempts'] + 1
  return cjson.encode(decoded)
end
for i = 1, #jobs do
  local job = jobs[i]
  local head, count = string.match(job, '^(.*"attempts":)(%d+)}$')
  local reserved, told = nil, ''
  if head and #count < 9 then
    reserved = head .. string.format('%d', count + 1) .. '}'
  else
    local ok, text = pcall(recode, job)
    if ok then reserved = text told = text else reserved = job told = 'broken' end
  end
  out[#out + 1] = job
  out[#out + 1] = told
  adds[#adds + 1] = ARGV[1]
  adds[#adds + 1] = reserved
  if #adds == 200 or i == #jobs then
    redis.call('zadd', KEYS[2], unpack(adds))
    adds = {}
  end
end
return out
