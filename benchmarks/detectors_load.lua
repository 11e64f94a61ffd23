-- wrk's script: posts binary CloudEvents, the bodies of a file in turn. After "--": the file, a body a line; a name for the run.
local bodies, made, run = {}, 0, ""

function init(arguments)
  for line in io.lines(arguments[1]) do bodies[#bodies + 1] = line end
  run = arguments[2]
end

function request()
  made = made + 1
  return wrk.format("POST", "/", {
    ["ce-specversion"] = "1.0", ["ce-id"] = string.format("%s-%09d", run, made),
    ["ce-source"] = "http://localhost:9081/", ["ce-type"] = "org.kubeflow.serving.inference.request",
    ["ce-time"] = "2026-11-21T10:00:00.123456789Z", ["ce-inferenceservicename"] = "kddcup",
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
