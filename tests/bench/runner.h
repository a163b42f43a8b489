#pragma once

#include <cstddef>
#include <iosfwd>
#include <string>
#include <vector>

namespace tinkex::bench {

struct BenchOptions {
  std::vector<std::string> scenarios;  ///< Empty: all.
  int rounds = 5;
  std::size_t storm_samples = 2'048;
  std::size_t pending_samples = 10'000;
  int pending_delay_ms = 5'000;
  std::size_t round_trips = 500;
  int lock_seconds = 12;
  int heartbeat_ms = 1'000;
  std::size_t datums = 2'048;
  std::size_t tokens = 1'024;
  std::size_t steps = 10;
  std::string sdk_python;
  std::string sdk_worker = "tests/bench/sdk_worker.py";
};

/// Runs the scenarios and prints a table and the goals of each. Gives 0; what cannot be run is
/// thrown.
int run_benchmark(const BenchOptions& options, std::ostream& out);

}  // namespace tinkex::bench
