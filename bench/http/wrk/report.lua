-- What wrk measured, as one line of JSON after the word RESULT.
-- The first argument is the number of bytes that each request sends, 0 for a GET. Where the second is not empty, each body
-- must hold it (a plain string) and each status be 200. All after the third are cookies, which the requests carry in
-- turn; without these nothing of Lua runs between two requests. The third is the number of wrk's threads: each has its own
-- share of the cookies. With all of them in both threads, two requests of one visitor, who has one session under a lock, would
-- meet as often as the order of answers happens to bring them together, which is another one on every server.

local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(args)
  wrong = 0
  local sends = tonumber(args[1]) or 0
  if sends > 0 then
    wrk.method = 'POST'
    wrk.headers['Content-Type'] = 'application/octet-stream'
    wrk.body = string.rep('x', sends)
  end
  local needle = args[2] or ''
  if needle ~= '' then
    function response(status, headers, body)
      if status ~= 200 or not string.find(body, needle, 1, true) then
        wrong = wrong + 1
      end
    end
  end
  if #args > 3 then
    local requests, last = {}, 0
    for at = 4 + number, #args, tonumber(args[3]) do
      wrk.headers['Cookie'] = args[at]
      table.insert(requests, wrk.format())
    end
    function request()
      last = last % #requests + 1
      return requests[last]
    end
  end
end

function done(summary, latency, requests)
  local bad = 0
  for _, thread in ipairs(threads) do
    bad = bad + thread:get("wrong")
  end
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"duration_us":%d,"bytes":%d,"wrong":%d,"non_2xx":%d,' ..
    '"connect":%d,"read":%d,"write":%d,"timeout":%d,"p50_us":%d,"p99_us":%d,"max_us":%d}\n',
    summary.requests, summary.duration, summary.bytes, bad, e.status,
    e.connect, e.read, e.write, e.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
