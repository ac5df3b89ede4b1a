-- What wrk measured, as one line of JSON after the word RESULT.
-- The first argument is the number of bytes that each request sends, 0 for a GET. Where the second is not empty, each body
-- must hold it (a plain string) and each status be 200. All others are cookies, which the requests carry in turn. Without
-- these nothing of Lua runs between two requests.

local threads = {}

function setup(thread)
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
  if #args > 2 then
    local requests, last = {}, 0
    for at = 3, #args do
      wrk.headers['Cookie'] = args[at]
      requests[at - 2] = wrk.format()
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
