#include "tests/bench/bench_server.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "tests/bench/bench_results.h"

namespace tinkex::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;

constexpr std::string_view kApi = "/api/v1/";
constexpr char kModel[] = "bench-session:train:0";
constexpr char kBinary[] = "application/x-protobuf";

/// Replies that never change. client/config makes every client cut a batch into the same chunks,
/// sent in order.
const std::map<std::string, const char*, std::less<>>& fixed_replies() {
  static const std::map<std::string, const char*, std::less<>> replies{
      {"client/config", R"({"parallel_fwdbwd_chunks":false,"fwdbwd_max_chunk_len":128})"},
      {"create_session", R"({"type":"create_session","session_id":"bench-session"})"},
      {"create_sampling_session",
       R"({"type":"create_sampling_session","sampling_session_id":"bench-sampler"})"},
      {"get_info",
       R"({"type":"get_info","model_id":"bench-session:train:0","is_lora":true,"lora_rank":8,)"
       R"("model_data":{"model_name":"bench","arch":"none"}})"},
      {"session_heartbeat", R"({"type":"session_heartbeat"})"},
      {"sessions/bench-session/finish", "{}"},
      {"telemetry", R"({"status":"accepted"})"}};
  return replies;
}

EpollReply json_reply(std::string body, int status = 200) {
  return {.status = status, .body = std::make_shared<const std::string>(std::move(body))};
}

std::int64_t nanoseconds(Clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

}  // namespace

/// Kind, when it is due, and a number: a count of datums, or what makes the id unique.
struct BenchServer::FutureId {
  char kind = ' ';
  Clock::time_point due{};
  std::uint32_t number = 0;

  std::string text() const {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%c%016llx%08x", kind,
                  static_cast<unsigned long long>(nanoseconds(due)), number);
    return buffer;
  }

  /// That of a poll's body; one of kind ' ' if there is none.
  static FutureId in(std::string_view body) {
    FutureId id;
    const std::size_t key = body.find("\"request_id\"");
    const std::size_t colon = body.find(':', std::min(key, body.size()));
    const std::size_t quote = body.find('"', std::min(colon, body.size()));
    if (quote == body.npos || quote + 26 > body.size()) return id;
    const char* text = body.data() + quote + 1;
    std::uint64_t due = 0;
    std::from_chars(text + 1, text + 17, due, 16);
    std::from_chars(text + 17, text + 25, id.number, 16);
    id.due = Clock::time_point(std::chrono::nanoseconds(due));
    id.kind = *text;
    return id;
  }
};

BenchServer::BenchServer(const BenchServerOptions& options)
    : options_(options),
      sample_(std::make_shared<const std::string>(sample_result(options.sampled_tokens))),
      server_([this](const EpollRequest& request) { return handle(request); }) {}

std::string BenchServer::base_url() const {
  return "http://127.0.0.1:" + std::to_string(server_.port());
}

EpollServer::Answer BenchServer::handle(const EpollRequest& request) {
  if (request.target.substr(0, kApi.size()) != kApi) return {.reply = serve_books(request.target)};
  const std::string_view endpoint = request.target.substr(kApi.size());
  count(endpoint);
  if (endpoint == "retrieve_future") return poll(request.body);
  return {.reply = serve_api(endpoint, request.body)};
}

void BenchServer::count(std::string_view endpoint) {
  const auto found = counts_.find(endpoint);
  if (found != counts_.end()) {
    ++found->second;
  } else {
    counts_.emplace(endpoint, 1);
  }
  if (endpoint == "create_session" || endpoint == "session_heartbeat") {
    heartbeats_.push_back(nanoseconds(Clock::now()));
  }
}

EpollReply BenchServer::serve_books(std::string_view what) {
  if (what == "/bench/counts") {
    Json counts(counts_);
    counts["connections"] = server_.most_connections();
    return json_reply(counts.dump());
  }
  if (what == "/bench/heartbeats") return json_reply(Json(heartbeats_).dump());
  if (what != "/bench/reset") return json_reply(R"({"detail":"not found"})", 404);
  counts_.clear();
  heartbeats_.clear();
  server_.reset_most_connections();
  return json_reply("{}");
}

EpollReply BenchServer::serve_api(std::string_view endpoint, std::string_view body) {
  if (endpoint == "asample") return submitted('s', options_.sample_delay, samples_++);
  if (endpoint == "forward_backward") {
    return submitted('f', {}, static_cast<std::uint32_t>(count_datums(body)));
  }
  if (endpoint == "optim_step") return submitted('o', {}, 0);
  if (endpoint == "create_model") return submitted('m', {}, 0);
  const auto fixed = fixed_replies().find(endpoint);
  if (fixed != fixed_replies().end()) return json_reply(fixed->second);
  return json_reply(R"({"detail":"Not Found"})", 404);
}

EpollReply BenchServer::submitted(char kind, std::chrono::milliseconds delay,
                                  std::uint32_t number) const {
  const FutureId id{.kind = kind, .due = Clock::now() + delay, .number = number};
  const std::string text = id.text();
  std::string body = "{\"request_id\":\"" + text + "\",";
  if (kind == 's') {
    body += "\"sample_sequence_ids\":[\"" + text + "-0\"]}";
  } else {
    body += std::string("\"model_id\":\"") + kModel + "\"}";
  }
  return json_reply(std::move(body));
}

EpollServer::Answer BenchServer::poll(std::string_view body) {
  const FutureId id = FutureId::in(body);
  const Clock::time_point now = Clock::now();
  if (id.due <= now) return {.reply = result(id)};
  const bool in_time = id.due <= now + options_.hold;
  return {.when = in_time ? id.due : now + options_.hold, .late = [this, id, in_time] {
            return in_time ? result(id) : json_reply(R"({"type":"try_again"})", 408);
          }};
}

EpollReply BenchServer::result(const FutureId& id) {
  switch (id.kind) {
    case 's': return {.content_type = kBinary, .body = sample_};
    case 'o': return json_reply(R"({"type":"optim_step","metrics":{"grad_norm":1.0}})");
    case 'm':
      return json_reply(std::string(R"({"type":"create_model","model_id":")") + kModel + "\"}");
    case 'f': break;
    default: return json_reply(R"({"detail":"no such future"})", 404);
  }
  Text& made = batches_[id.number];
  if (!made) {
    made = std::make_shared<const std::string>(
        forward_backward_result(id.number, options_.target_tokens));
  }
  return {.content_type = kBinary, .body = made};
}

}  // namespace tinkex::bench
