#include "tests/bench/runner.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <map>
#include <ostream>

#include "tests/bench/competition.h"

namespace tinkex::bench {
namespace {

constexpr double kStormCpu = 3.0;
constexpr double kChunksRatio = 1.5;
constexpr double kHeartbeatLateMs = 50;
constexpr double kPendingSeconds = 8;
constexpr double kPendingThreads = 8;
constexpr double kPendingMib = 120;

using Rounds = std::vector<Measurement>;
using Field = double (*)(const Measurement&);

double cpu(const Measurement& m) { return m.cpu_s; }
double wall(const Measurement& m) { return m.wall_s; }
double threads(const Measurement& m) { return static_cast<double>(m.threads); }
double rss(const Measurement& m) { return m.rss_mib; }
double connections(const Measurement& m) { return static_cast<double>(m.connections); }
double requests(const Measurement& m) { return static_cast<double>(m.requests); }
double server_cpu(const Measurement& m) { return m.server_cpu_s; }
double median_us(const Measurement& m) { return m.worker.value("median_us", 0.0); }
double p99_us(const Measurement& m) { return m.worker.value("p99_us", 0.0); }

std::vector<double> values_of(const Rounds& rounds, Field field) {
  std::vector<double> values;
  for (const Measurement& round : rounds) values.push_back(field(round));
  return values;
}

double median_of(const Rounds& rounds, Field field) { return median(values_of(rounds, field)); }

__attribute__((format(printf, 1, 2))) std::string format(const char* text, ...) {
  char buffer[256];
  va_list arguments;
  va_start(arguments, text);
  std::vsnprintf(buffer, sizeof buffer, text, arguments);
  va_end(arguments);
  return buffer;
}

class Report {
 public:
  Report(std::string scenario, std::map<std::string, Rounds> rounds, std::ostream& out)
      : scenario_(std::move(scenario)), rounds_(std::move(rounds)), out_(out) {}

  void print() {
    out_ << format("  %-8s %10s %10s %8s %9s %12s %9s %11s\n", "", "CPU", "wall", "threads", "RSS+",
                   "connections", "requests", "server CPU");
    for (const auto& [name, rounds] : rounds_) row(name, rounds);
    if (scenario_ == "storm") storm();
    if (scenario_ == "chunks") chunks();
    if (scenario_ == "latency") latency();
    if (scenario_ == "pending") pending();
    out_ << std::endl;
  }

 private:
  void row(const std::string& name, const Rounds& rounds) {
    out_ << format("  %-8s %7.1f ms %7.1f ms %8.0f %5.1f MiB %12.0f %9.0f %8.1f ms\n", name.c_str(),
                   median_of(rounds, cpu) * 1e3, median_of(rounds, wall) * 1e3,
                   median_of(rounds, threads), median_of(rounds, rss),
                   median_of(rounds, connections), median_of(rounds, requests),
                   median_of(rounds, server_cpu) * 1e3);
  }

  void goal(const std::string& what, double value, double limit, const char* unit) {
    out_ << format("  goal: %-52s %8.2f %s, at most %g: %s\n", what.c_str(), value, unit, limit,
                   value <= limit ? "met" : "NOT MET");
  }

  const Rounds& ours() const { return rounds_.at("tinkex"); }
  double against(const std::string& floor, Field field) const {
    return median_ratio(values_of(ours(), field), values_of(rounds_.at(floor), field));
  }

  void storm() { goal("CPU against libcurl", against("libcurl", cpu), kStormCpu, "times"); }

  void chunks() {
    goal("CPU against libcurl that encodes", against("encoding", cpu), kChunksRatio, "times");
    goal("wall against libcurl that encodes", against("encoding", wall), kChunksRatio, "times");
    goal("CPU against libcurl with ready bodies", against("libcurl", cpu), kChunksRatio, "times");
    goal("wall against libcurl with ready bodies", against("libcurl", wall), kChunksRatio, "times");
  }

  void pending() {
    goal("wall", median_of(ours(), wall), kPendingSeconds, "s");
    goal("threads of the process", median_of(ours(), threads), kPendingThreads, "threads");
    goal("resident memory on top of the start", median_of(ours(), rss), kPendingMib, "MiB");
  }

  void latency() {
    for (const auto& [name, rounds] : rounds_) {
      std::string line = format("  %-8s sample: median %.0f us, 99 %% within %.0f us", name.c_str(),
                                median_of(rounds, median_us), median_of(rounds, p99_us));
      if (const auto late = rounds.front().heartbeat_late_ms) {
        line += format("; the latest heartbeat %.1f ms late", *late);
      }
      out_ << line << "\n";
    }
    goal("heartbeats late while the host holds a lock", *ours().front().heartbeat_late_ms,
         kHeartbeatLateMs, "ms");
  }

  const std::string scenario_;
  const std::map<std::string, Rounds> rounds_;
  std::ostream& out_;
};

std::string title(const std::string& scenario, const BenchOptions& options) {
  if (scenario == "storm") {
    return format("storm: %zu samples at once from one client", options.storm_samples);
  }
  if (scenario == "chunks") {
    return format(
        "chunks: %zu steps of forward_backward with %zu datums of %zu tokens, and optim_step",
        options.steps, options.datums, options.tokens);
  }
  if (scenario == "latency") {
    return format("latency: %zu samples one after another; then a lock held for %d s",
                  options.round_trips, options.lock_seconds);
  }
  return format("pending: %zu samples in flight, of which the server needs %d ms for each",
                options.pending_samples, options.pending_delay_ms);
}

void run_scenario(const std::string& scenario, const BenchOptions& options, std::ostream& out) {
  out << title(scenario, options) << "; " << options.rounds << " rounds, medians" << std::endl;
  std::vector<std::string> competitors{"libcurl", "tinkex"};
  if (scenario == "chunks") competitors.emplace_back("encoding");
  if (!options.sdk_python.empty()) competitors.emplace_back("sdk");
  Competition competition(options, scenario);
  // A run that only tells how many connections libcurl must get to do the same.
  competition.set_connections(competition.run("tinkex", /*with_lock=*/false).connections);
  std::map<std::string, Rounds> rounds;
  for (int round = 0; round < options.rounds; ++round) {
    for (const std::string& competitor : competitors) {
      const bool with_lock = scenario == "latency" && round == 0;
      rounds[competitor].push_back(competition.run(competitor, with_lock));
    }
    std::rotate(competitors.begin(), competitors.begin() + 1, competitors.end());
  }
  Report(scenario, std::move(rounds), out).print();
}

}  // namespace

int run_benchmark(const BenchOptions& options, std::ostream& out) {
  if (options.sdk_python.empty()) {
    out << "The official SDK is left out: --sdk-python names no Python that has it.\n\n";
  }
  std::vector<std::string> scenarios = options.scenarios;
  if (scenarios.empty()) scenarios = {"storm", "chunks", "latency", "pending"};
  for (const std::string& scenario : scenarios) run_scenario(scenario, options, out);
  return 0;
}

}  // namespace tinkex::bench
