#include "tests/bench/competition.h"

#include <unistd.h>

#include <array>
#include <stdexcept>
#include <utility>

namespace tinkex::bench {
namespace {

constexpr double kSdkHeartbeatMs = 10'000;

std::string this_program() {
  std::array<char, 4096> path{};
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  if (length <= 0) throw std::runtime_error("/proc/self/exe cannot be read");
  return std::string(path.data(), static_cast<std::size_t>(length));
}

std::vector<std::string> server_command(const BenchOptions& options, const std::string& scenario) {
  const int delay = scenario == "pending" ? options.pending_delay_ms : 0;
  return {this_program(),        "--server", "--sample-delay-ms",
          std::to_string(delay), "--tokens", std::to_string(options.tokens)};
}

std::size_t append_body(char* data, std::size_t size, std::size_t count, void* body) {
  static_cast<std::string*>(body)->append(data, size * count);
  return size * count;
}

}  // namespace

Competition::Competition(const BenchOptions& options, std::string scenario)
    : options_(options),
      scenario_(std::move(scenario)),
      server_(server_command(options, scenario_)),
      url_(server_.read_line()),
      questions_(curl_easy_init(), &curl_easy_cleanup) {}

nlohmann::json Competition::ask_server(const std::string& path) const {
  std::string body;
  curl_easy_setopt(questions_.get(), CURLOPT_URL, (url_ + path).c_str());
  curl_easy_setopt(questions_.get(), CURLOPT_PROXY, "");
  curl_easy_setopt(questions_.get(), CURLOPT_WRITEFUNCTION, append_body);
  curl_easy_setopt(questions_.get(), CURLOPT_WRITEDATA, &body);
  const CURLcode code = curl_easy_perform(questions_.get());
  if (code != CURLE_OK) throw std::runtime_error(url_ + path + ": " + curl_easy_strerror(code));
  return nlohmann::json::parse(body);
}

std::size_t Competition::samples() const {
  if (scenario_ == "storm") return options_.storm_samples;
  if (scenario_ == "pending") return options_.pending_samples;
  return options_.round_trips;
}

std::vector<std::string> Competition::command(const std::string& competitor, bool with_lock) const {
  std::vector<std::string> command{this_program()};
  if (competitor == "sdk") command = {options_.sdk_python, options_.sdk_worker};
  const auto number = [](auto value) { return std::to_string(value); };
  const std::vector<std::pair<std::string, std::string>> told{
      {"--worker", competitor},
      {"--scenario", scenario_},
      {"--url", url_},
      {"--samples", number(samples())},
      {"--connections", number(connections_)},
      {"--datums", number(options_.datums)},
      {"--tokens", number(options_.tokens)},
      {"--steps", number(options_.steps)},
      {"--lock-ms", number(with_lock ? options_.lock_seconds * 1'000 : 0)},
      {"--heartbeat-ms", number(options_.heartbeat_ms)}};
  for (const auto& [name, value] : told) {
    command.push_back(name);
    command.push_back(value);
  }
  return command;
}

Measurement Competition::run(const std::string& competitor, bool with_lock) {
  (void)ask_server("/bench/reset");
  ChildProcess worker(command(competitor, with_lock));
  while (worker.read_line() != "ready") {
    // What else a program prints while it starts.
  }
  const std::size_t requests_before = count_requests(ask_server("/bench/counts"));
  const Footprint start = footprint_of(worker.pid());
  const double server_cpu = cpu_seconds_of(server_.pid());
  PeakWatch watch(worker.pid());
  worker.write_line("go");
  Measurement measured;
  measured.worker = nlohmann::json::parse(worker.read_line());
  const Footprint peak = watch.stop();
  worker.join();
  measured.cpu_s = measured.worker.at("cpu_s");
  measured.wall_s = measured.worker.at("wall_s");
  measured.threads = peak.threads;
  measured.rss_mib = static_cast<double>(peak.rss_kib - start.rss_kib) / 1024.0;
  measured.server_cpu_s = cpu_seconds_of(server_.pid()) - server_cpu;
  const nlohmann::json counts = ask_server("/bench/counts");
  measured.requests = count_requests(counts) - requests_before;
  measured.connections = counts.at("connections").get<long>() - 1;  // ours
  look_at_heartbeats(measured, competitor);
  return measured;
}

std::size_t Competition::count_requests(const nlohmann::json& counts) {
  std::size_t requests = 0;
  for (const char* endpoint : {"asample", "forward_backward", "optim_step", "retrieve_future"}) {
    requests += counts.value(endpoint, std::size_t{0});
  }
  return requests;
}

void Competition::look_at_heartbeats(Measurement& measured, const std::string& competitor) const {
  if (!measured.worker.contains("lock_end_ns")) return;
  measured.heartbeat_late_ms =
      latest_heartbeat_ms(ask_server("/bench/heartbeats"), measured.worker.at("lock_begin_ns"),
                          measured.worker.at("lock_end_ns"),
                          competitor == "sdk" ? kSdkHeartbeatMs : options_.heartbeat_ms);
}

}  // namespace tinkex::bench
