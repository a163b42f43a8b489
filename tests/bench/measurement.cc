#include "tests/bench/measurement.h"

#include <algorithm>

namespace tinkex::bench {

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double median_ratio(const std::vector<double>& ours, const std::vector<double>& theirs) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < ours.size(); ++i) ratios.push_back(ours[i] / theirs[i]);
  return median(std::move(ratios));
}

double latest_heartbeat_ms(const std::vector<std::int64_t>& log_ns, std::int64_t begin_ns,
                           std::int64_t end_ns, double interval_ms) {
  double latest = 0;
  const auto look = [&](std::int64_t before, std::int64_t after) {
    const double gap_ms = static_cast<double>(after - before) * 1e-6;
    latest = std::max(latest, gap_ms - interval_ms);
  };
  for (std::size_t i = 1; i < log_ns.size(); ++i) {
    const bool during = log_ns[i] > begin_ns && log_ns[i - 1] < end_ns;
    if (during) look(log_ns[i - 1], log_ns[i]);
  }
  if (!log_ns.empty() && log_ns.back() < end_ns) look(log_ns.back(), end_ns);
  return latest;
}

}  // namespace tinkex::bench
