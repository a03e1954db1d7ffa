-- The load, as wrk runs it: header fields from a file (one request a line, fields separated by a
-- tab), in turn; the result as one line of JSON.
local requests, turn = {}, 0

function init(arguments)
  for line in io.lines(arguments[1]) do
    local fields = {}
    for name, value in line:gmatch("([^\t:]+): ([^\t]+)") do
      fields[name] = value
    end
    requests[#requests + 1] = wrk.format("GET", nil, fields)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "micros": %d, "refused": %d, "broken": %d, "p50_us": %d, "p99_us": %d, "p999_us": %d}\n',
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
