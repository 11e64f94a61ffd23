-- wrk's script: as detectors_load.lua, with event times that go on, 500 events a second of event time, each run ten
-- minutes behind the one before it, and all of them in the past. After "--": the file, a body a line; the run, 1 to 10;
-- how many services.
local bodies, made, begin, keys, run, per_second = {}, 0, 0, 1, "", 500

function init(arguments)
  for line in io.lines(arguments[1]) do bodies[#bodies + 1] = line end
  run, keys = arguments[2], tonumber(arguments[3])
  begin = os.time() - 7200 + tonumber(run) * 600
end

function request()
  made = made + 1
  local at = os.date("!%Y-%m-%dT%H:%M:%S", begin + math.floor(made / per_second))
  local micros = made % per_second * (1000000 / per_second)
  return wrk.format("POST", "/", {
    ["ce-specversion"] = "1.0", ["ce-id"] = string.format("%s-%09d", run, made),
    ["ce-source"] = "http://localhost:9081/", ["ce-type"] = "org.kubeflow.serving.inference.request",
    ["ce-time"] = string.format("%s.%06dZ", at, micros),
    ["ce-inferenceservicename"] = string.format("kddcup-%d", made % keys),
    ["ce-namespace"] = "default", ["ce-component"] = "predictor", ["ce-endpoint"] = "default",
    ["content-type"] = "application/json"}, bodies[made % #bodies + 1])
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "elapsed_us": %d, "p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
