#include "tests/bench/worker.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <utility>

namespace tinkex::bench {

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::int64_t steady_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void Meter::begin() {
  std::cout << "ready" << std::endl;
  std::string word;
  std::getline(std::cin, word);
  wall_ = std::chrono::steady_clock::now();
  cpu_ = cpu_seconds();
}

void Meter::end(nlohmann::json& result) const {
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - wall_;
  result["cpu_s"] = cpu_seconds() - cpu_;
  result["wall_s"] = wall.count();
}

ModelInput bench_prompt() {
  std::vector<std::int64_t> tokens(128);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = static_cast<std::int64_t>(i * 7919 % 150'000);
  }
  return ModelInput::from_tokens(std::move(tokens));
}

SamplingParams bench_sampling() {
  SamplingParams params;
  params.max_tokens = 32;
  return params;
}

std::vector<Datum> bench_batch(const WorkerOptions& options) {
  std::vector<Datum> batch;
  for (std::size_t i = 0; i < options.datums; ++i) {
    std::vector<std::int64_t> tokens(options.tokens), targets(options.tokens);
    for (std::size_t t = 0; t < options.tokens; ++t) {
      tokens[t] = static_cast<std::int64_t>((i + t) * 7919 % 150'000);
      targets[t] = static_cast<std::int64_t>((i + t + 1) * 7919 % 150'000);
    }
    Datum datum;
    datum.model_input = ModelInput::from_tokens(std::move(tokens));
    datum.loss_fn_inputs = {
        {"target_tokens", TensorData::from(std::move(targets))},
        {"weights", TensorData::from(std::vector<float>(options.tokens, 1.0f))}};
    batch.push_back(std::move(datum));
  }
  return batch;
}

void add_round_trips(std::vector<double> seconds, nlohmann::json& result) {
  if (seconds.empty()) return;
  std::sort(seconds.begin(), seconds.end());
  result["median_us"] = seconds[seconds.size() / 2] * 1e6;
  result["p99_us"] = seconds[(seconds.size() - 1) * 99 / 100] * 1e6;
}

}  // namespace tinkex::bench
