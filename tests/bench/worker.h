#pragma once

#include <chrono>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

#include "tinkex/datum.h"
#include "tinkex/model_input.h"
#include "tinkex/params.h"

// One competitor in one scenario, in a process of its own. A worker makes itself ready, says so,
// waits for the word, and then does the scenario's work; only that is measured.

namespace tinkex::bench {

/// What a worker is told; the names are those of its command line.
struct WorkerOptions {
  std::string scenario;
  std::string url;
  std::size_t samples = 0;      ///< storm, pending: at once. latency: one after another.
  std::size_t connections = 0;  ///< Of raw libcurl; 1 at least.
  std::size_t datums = 0;       ///< chunks: of the batch.
  std::size_t tokens = 0;       ///< chunks: of each datum.
  bool encode = false;          ///< chunks: raw libcurl makes the bodies of each step anew.
  std::size_t steps = 0;        ///< chunks: one after another, behind one that is not measured.
  std::chrono::milliseconds lock{0};       ///< latency: how long the host holds its lock.
  std::chrono::milliseconds heartbeat{0};  ///< latency: interval of the heartbeats.
};

/// The scenario's work between ready and done.
class Meter {
 public:
  /// Tells the runner that the worker is ready and waits for its word.
  void begin();
  /// Takes the times and adds them to `result`, in seconds: `wall_s`, `cpu_s`.
  void end(nlohmann::json& result) const;

 private:
  std::chrono::steady_clock::time_point wall_{};
  double cpu_ = 0;
};

/// CPU seconds that this process has used, system and user.
double cpu_seconds();
/// Now, as the server's heartbeat log writes it.
std::int64_t steady_nanoseconds();

nlohmann::json run_tinkex(const WorkerOptions& options);
nlohmann::json run_libcurl(const WorkerOptions& options);

/// What both send: a prompt of 128 tokens for at most 32, and a batch for cross_entropy.
ModelInput bench_prompt();
SamplingParams bench_sampling();
std::vector<Datum> bench_batch(const WorkerOptions& options);

/// Adds median and 99th percentile of the seconds, in microseconds.
void add_round_trips(std::vector<double> seconds, nlohmann::json& result);

}  // namespace tinkex::bench
