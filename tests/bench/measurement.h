#pragma once

#include <chrono>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace tinkex::bench {

/// One competitor's run of one scenario.
struct Measurement {
  double cpu_s = 0;
  double wall_s = 0;
  long threads = 0;      ///< Most at a time, all of the process.
  double rss_mib = 0;    ///< Most, on top of what it was before the work began.
  long connections = 0;  ///< Most at a time.
  std::size_t requests = 0;
  double server_cpu_s = 0;
  nlohmann::json worker;  ///< What the worker itself told.
  /// The latest heartbeat while the host held its lock, if it held one.
  std::optional<double> heartbeat_late_ms;
};

/// What `work` takes.
double seconds(auto&& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Of the middle one; of two middle ones the larger.
double median(std::vector<double> values);
/// The median over the rounds of what one took as a multiple of what the other took.
double median_ratio(const std::vector<double>& ours, const std::vector<double>& theirs);

/// How late the latest heartbeat of the log came, in milliseconds, from `begin` to `end`. A beat is
/// due an interval after the one before, the first of them after the session was created. One that
/// is overdue at the end counts.
double latest_heartbeat_ms(const std::vector<std::int64_t>& log_ns, std::int64_t begin_ns,
                           std::int64_t end_ns, double interval_ms);

}  // namespace tinkex::bench
