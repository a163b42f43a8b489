#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/bench/child_process.h"
#include "tests/bench/measurement.h"
#include "tests/bench/runner.h"

namespace tinkex::bench {

/// One scenario: its server, and the runs of the competitors against it, one at a time.
class Competition {
 public:
  Competition(const BenchOptions& options, std::string scenario);

  /// `competitor` is "libcurl", "encoding", "tinkex" or "sdk". `with_lock`: whether latency's host
  /// lock is held.
  Measurement run(const std::string& competitor, bool with_lock);

  /// How many connections libcurl gets.
  void set_connections(long connections) { connections_ = connections; }

 private:
  std::vector<std::string> command(const std::string& competitor, bool with_lock) const;
  std::size_t samples() const;
  nlohmann::json ask_server(const std::string& path) const;
  /// Of the scenario's work, since the server's books were opened.
  static std::size_t count_requests(const nlohmann::json& counts);
  void look_at_heartbeats(Measurement& measured, const std::string& competitor) const;

  const BenchOptions options_;
  const std::string scenario_;
  long connections_ = 1;
  ChildProcess server_;
  const std::string url_;
  /// Keeps one connection to the server.
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> questions_;
};

}  // namespace tinkex::bench
