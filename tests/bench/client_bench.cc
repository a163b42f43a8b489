// One program for three roles: it runs the benchmark, and starts itself as the server and as each
// of the competitors, so that every figure is that of a process of its own.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <string>

#include "tests/bench/bench_server.h"
#include "tests/bench/runner.h"
#include "tests/bench/worker.h"

namespace {

using namespace tinkex::bench;
using std::chrono::milliseconds;

struct Roles {
  bool server = false;
  std::string worker;
  int sample_delay_ms = 0;
  WorkerOptions work;
  int lock_ms = 0;
  int heartbeat_ms = 0;
};

void add_bench_options(CLI::App& app, BenchOptions& bench) {
  app.add_option("--scenario", bench.scenarios, "what to run (default: all four)")
      ->check(CLI::IsMember({"storm", "chunks", "latency", "pending"}))
      ->delimiter(',');
  const auto number = [&app](const char* name, auto& value, const char* text) {
    app.add_option(name, value, text)->check(CLI::PositiveNumber)->capture_default_str();
  };
  number("--rounds", bench.rounds, "how often each competitor runs; figures are medians");
  number("--storm-samples", bench.storm_samples, "samples at once in storm");
  number("--pending-samples", bench.pending_samples, "samples in flight in pending");
  number("--pending-delay-ms", bench.pending_delay_ms, "what the server needs for one of those");
  number("--round-trips", bench.round_trips, "samples one after another in latency");
  number("--lock-seconds", bench.lock_seconds, "how long the host holds its lock in latency");
  number("--heartbeat-ms", bench.heartbeat_ms,
         "interval of heartbeats in latency; the SDK's is 10 s");
  number("--datums", bench.datums, "batch of chunks; 128 make one chunk");
  number("--tokens", bench.tokens, "tokens of each datum in chunks");
  number("--steps", bench.steps, "training steps in chunks");
  app.add_option("--sdk-python", bench.sdk_python,
                 "Python of an environment with tinker==0.38.0; without it the SDK is left out");
  app.add_option("--sdk-worker", bench.sdk_worker, "the script that drives the SDK")
      ->capture_default_str();
}

/// How the program starts itself.
void add_role_options(CLI::App& app, Roles& roles) {
  const auto hidden = [&app](const char* name, auto& value) {
    app.add_option(name, value)->group("");
  };
  app.add_flag("--server", roles.server)->group("");
  hidden("--worker", roles.worker);
  hidden("--sample-delay-ms", roles.sample_delay_ms);
  hidden("--url", roles.work.url);
  hidden("--samples", roles.work.samples);
  hidden("--connections", roles.work.connections);
  hidden("--lock-ms", roles.lock_ms);
}

int serve(const Roles& roles, const BenchOptions& bench) {
  BenchServer server(
      {.sample_delay = milliseconds(roles.sample_delay_ms), .target_tokens = bench.tokens});
  std::cout << server.base_url() << std::endl;
  server.serve(STDIN_FILENO);  // until the runner is gone
  return 0;
}

int work(Roles& roles, const BenchOptions& bench) {
  roles.work.scenario = bench.scenarios.at(0);
  roles.work.datums = bench.datums;
  roles.work.tokens = bench.tokens;
  roles.work.steps = bench.steps;
  roles.work.lock = milliseconds(roles.lock_ms);
  roles.work.heartbeat = milliseconds(bench.heartbeat_ms);
  roles.work.encode = roles.worker == "encoding";
  const bool raw = roles.work.encode || roles.worker == "libcurl";
  std::cout << (raw ? run_libcurl(roles.work) : run_tinkex(roles.work)).dump() << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  BenchOptions bench;
  Roles roles;
  CLI::App app{
      "Measures the client beside raw libcurl and the official SDK, each in a process of its own, "
      "against one server in another. docs/benchmarks.md explains the scenarios."};
  add_bench_options(app, bench);
  add_role_options(app, roles);
  CLI11_PARSE(app, argc, argv);
  try {
    if (roles.server) return serve(roles, bench);
    if (!roles.worker.empty()) return work(roles, bench);
    return run_benchmark(bench, std::cout);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
