#include <mutex>
#include <thread>
#include <vector>

#include "tests/bench/worker.h"
#include "tinkex/service_client.h"

namespace tinkex::bench {
namespace {

using nlohmann::json;

ServiceClient connect(const WorkerOptions& options) {
  ClientOptions client;
  client.base_url = options.url;
  if (options.heartbeat.count() > 0) client.heartbeat_interval = options.heartbeat;
  return ServiceClient::connect(std::move(client)).value();
}

SamplingClient make_sampler(ServiceClient& service) {
  return service.create_sampling_client("bench", std::nullopt).get().value();
}

std::vector<Future<SampleResponse>> start_samples(SamplingClient& sampler, std::size_t count) {
  const ModelInput prompt = bench_prompt();
  std::vector<Future<SampleResponse>> samples;
  samples.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    samples.push_back(sampler.sample(prompt, 1, bench_sampling()));
  }
  return samples;
}

/// storm and pending: all at once.
json run_samples(const WorkerOptions& options) {
  ServiceClient service = connect(options);
  SamplingClient sampler = make_sampler(service);
  Meter meter;
  meter.begin();
  json result;
  {
    auto samples = start_samples(sampler, options.samples);
    std::size_t tokens = 0;
    for (auto& sample : samples) tokens += sample.get().value().sequences.at(0).tokens.size();
    result["tokens"] = tokens;
  }
  meter.end(result);
  return result;
}

json run_chunks(const WorkerOptions& options) {
  ServiceClient service = connect(options);
  TrainingClient model = service.create_lora_training_client("bench", {.rank = 8}).get().value();
  const std::vector<Datum> batch = bench_batch(options);
  std::size_t outputs = 0;
  const auto step = [&] {
    auto pass = model.forward_backward(batch, loss::kCrossEntropy);
    auto update = model.optim_step();
    outputs += pass.get().value().loss_fn_outputs.size();
    (void)update.get().value();
  };
  step();
  Meter meter;
  meter.begin();
  for (std::size_t i = 0; i < options.steps; ++i) step();
  json result{{"outputs", outputs}};
  meter.end(result);
  return result;
}

/// Holds a lock for a while, for which threads of the user's wait, and continuations on every
/// thread of the client's executor: the counterpart of a Python program that holds the GIL.
void hold_lock(SamplingClient& sampler, std::chrono::milliseconds time, json& result) {
  const std::size_t crowd = std::thread::hardware_concurrency() + 2;
  std::mutex host;
  std::vector<std::thread> threads;
  std::vector<Future<Unit>> continuations;
  const auto wait_for_host = [&host] { const std::lock_guard<std::mutex> lock(host); };
  {
    const std::lock_guard<std::mutex> lock(host);
    for (std::size_t i = 0; i < crowd; ++i) threads.emplace_back(wait_for_host);
    for (auto& sample : start_samples(sampler, crowd)) {
      continuations.push_back(
          std::move(sample).then([&](Result<SampleResponse>) { wait_for_host(); }));
    }
    result["lock_begin_ns"] = steady_nanoseconds();
    std::this_thread::sleep_until(std::chrono::steady_clock::now() + time);
    result["lock_end_ns"] = steady_nanoseconds();
  }
  for (std::thread& thread : threads) thread.join();
  for (auto& done : continuations) (void)done.get().value();
}

json run_latency(const WorkerOptions& options) {
  ServiceClient service = connect(options);
  SamplingClient sampler = make_sampler(service);
  const ModelInput prompt = bench_prompt();
  Meter meter;
  meter.begin();
  std::vector<double> seconds;
  for (std::size_t i = 0; i < options.samples; ++i) {
    const auto begun = std::chrono::steady_clock::now();
    (void)sampler.sample(prompt, 1, bench_sampling()).get().value();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begun;
    seconds.push_back(taken.count());
  }
  json result;
  meter.end(result);
  add_round_trips(std::move(seconds), result);
  if (options.lock.count() > 0) hold_lock(sampler, options.lock, result);
  return result;
}

}  // namespace

json run_tinkex(const WorkerOptions& options) {
  if (options.scenario == "chunks") return run_chunks(options);
  if (options.scenario == "latency") return run_latency(options);
  return run_samples(options);
}

}  // namespace tinkex::bench
