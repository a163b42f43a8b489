#include "tinkex/async/poll_reply.h"

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "tinkex/base/bounded_json.h"
#include "tinkex/base/json_problem.h"
#include "tinkex/base/text.h"
#include "tinkex/retry/classify.h"

namespace tinkex::internal {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

// How long to wait before asking a server again that says it is paused.
constexpr milliseconds kPausedDelay{1'000};
// Envelopes (try_again, errors, metadata) are small; anything longer is a result.
constexpr std::size_t kMaxEnvelopeBytes = 64 * 1024;
constexpr int kMaxDepth = 32;

std::string string_at(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

PollReply failed(const json& object, const PollQuestion& question) {
  const json& error = object.at("error");
  const json& inner = error.is_object() ? error : object;
  std::string text = error.is_string() ? error.get<std::string>() : string_at(inner, "message");
  if (text.empty()) text = "the server gave no reason";
  std::string category = string_at(object, "category");
  if (category.empty()) category = string_at(inner, "category");
  PollReply reply;
  reply.kind = PollReply::Kind::kFailed;
  reply.error = Error(ErrorCode::kRequestFailed,
                      question.what + " failed: " + tidy_server_text(text, question.secrets))
                    .with_category(parse_error_category(category))
                    .with_retryable(parse_error_category(category) == ErrorCategory::kServer)
                    .with_request_id(question.request_id);
  return reply;
}

/// "paused_capacity: many are waiting"; empty for a queue that is not said to stand.
std::string queue_text(const json& object, const PollQuestion& question) {
  const std::string state = string_at(object, "queue_state");
  const std::string reason = string_at(object, "queue_state_reason");
  if (reason.empty() && (state.empty() || state == "active")) return "";
  return tidy_server_text(reason.empty() ? state : state + ": " + reason, question.secrets);
}

PollReply pending(const json& object, const PollQuestion& question) {
  PollReply reply;
  const auto after = object.find("retry_after_ms");
  if (after != object.end() && after->is_number() && after->get<double>() >= 0 &&
      after->get<double>() < 1e9) {
    reply.delay = milliseconds(static_cast<std::int64_t>(after->get<double>()));
  } else if (string_at(object, "queue_state").rfind("paused", 0) == 0) {
    reply.delay = kPausedDelay;
  }
  reply.reason = queue_text(object, question);
  return reply;
}

PollReply done() {
  PollReply reply;
  reply.kind = PollReply::Kind::kDone;
  return reply;
}

PollReply interpret_success(const HttpResponse& response, const PollQuestion& question) {
  if (lower_case(response.header("content-type")).find("protobuf") != std::string::npos ||
      response.body.size() > kMaxEnvelopeBytes) {
    return done();
  }
  const json object = parse_bounded(response.body, kMaxDepth);
  if (!object.is_object()) {
    PollReply reply;
    reply.kind = PollReply::Kind::kFailed;
    const std::string why = object.is_discarded() ? ": " + json_problem(response.body) : "";
    reply.error = Error(ErrorCode::kDecode,
                        question.what + ": the reply to a poll is not a JSON object" + why)
                      .with_http_status(response.status)
                      .with_request_id(question.request_id);
    return reply;
  }
  const std::string status = string_at(object, "status");
  if (string_at(object, "type") == "try_again" || status == "pending")
    return pending(object, question);
  if (status == "complete_metadata") {
    PollReply reply;
    reply.kind = PollReply::Kind::kMetadataOnly;
    const auto size = object.find("response_payload_size");
    if (size != object.end() && size->is_number_unsigned())
      reply.bytes = size->get<std::uint64_t>();
    return reply;
  }
  if (object.contains("error")) return failed(object, question);
  return done();
}

}  // namespace

PollReply interpret_poll_reply(const HttpResponse& response, const PollQuestion& question) {
  if (response.status >= 200 && response.status < 300) {
    return interpret_success(response, question);
  }
  PollReply reply;
  if (response.status == 408) {
    const json object =
        parse_bounded(std::string_view(response.body).substr(0, kMaxEnvelopeBytes), kMaxDepth);
    return object.is_object() ? pending(object, question) : reply;
  }
  reply.error = error_from_response(response, question.what, question.secrets)
                    .with_request_id(question.request_id);
  if (response.status == 402) {
    reply.kind = PollReply::Kind::kBillingPause;
  } else if (response.status == 429 || response.status >= 500) {
    reply.kind = PollReply::Kind::kAskLater;
  } else {
    reply.kind = PollReply::Kind::kFailed;
    if (response.status == 410) {
      reply.error = std::move(*reply.error)
                        .with_context("the result has expired on the server")
                        .with_retryable(true);
    }
  }
  return reply;
}

}  // namespace tinkex::internal
