-- wrk's script: posts events in binary mode, each under an id of its own. After "--": a name for the run, bytes of data.
local made, thread_count = 0, 0
local run, data

function setup(thread)
  thread:set("number", thread_count)
  thread_count = thread_count + 1
end

function init(arguments)
  run = arguments[1]
  data = '"' .. string.rep("x", tonumber(arguments[2]) - 2) .. '"'
end

function request()
  made = made + 1
  return wrk.format("POST", "/default/default", {
    ["ce-specversion"] = "1.0", ["ce-id"] = string.format("%s-%d-%09d", run, number, made),
    ["ce-source"] = "http://localhost:9081/", ["ce-type"] = "org.kubeflow.serving.inference.request",
    ["ce-time"] = "2026-11-21T10:00:00.123456789Z", ["ce-inferenceservicename"] = "income",
    ["ce-namespace"] = "default", ["ce-component"] = "predictor", ["ce-endpoint"] = "default",
    ["content-type"] = "application/json"}, data)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "elapsed_us": %d, "p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
