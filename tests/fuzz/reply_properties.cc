#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <string>
#include <string_view>

#include "tests/fuzz/properties.h"
#include "tinkex/async/poll_reply.h"
#include "tinkex/base/text.h"
#include "tinkex/retry/classify.h"

namespace tinkex::fuzz {
namespace {

using namespace std::chrono_literals;
using internal::PollReply;
using internal::RetryDecision;

bool in_hour(std::optional<std::chrono::milliseconds> delay) {
  return !delay || (*delay > 0ms && *delay <= 1h);
}

// Of a server that has keys of its own kind; the corpus repeats it.
constexpr std::string_view kKey = "own-key-1";
constexpr std::array kSecrets{kKey};

bool shows_a_key(std::string_view message) {
  if (message.find(kKey) != std::string_view::npos) return true;
  const auto is_key_character = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  };
  for (std::size_t at = message.find("tml-"); at != std::string_view::npos;
       at = message.find("tml-", at + 1)) {
    // What was cut ends in dots, which a key may hold as well.
    const std::string_view key = message.substr(at + 4, message.find("...", at) - at - 4);
    const auto end = std::find_if_not(key.begin(), key.end(), is_key_character);
    if (end - key.begin() >= 8) return true;
  }
  return false;
}

}  // namespace

void check_error_of(const HttpResponse& reply) {
  const AllocationMeter meter;
  const Error error = internal::error_from_response(reply, "sample", kSecrets);
  TINKEX_FUZZ_CHECK(meter.peak() <= allowed_memory(reply.body.size()));
  check_error(error, {ErrorCode::kHttpStatus});
  TINKEX_FUZZ_CHECK(!shows_a_key(error.message()));
  TINKEX_FUZZ_CHECK(error.http_status() == reply.status);
  TINKEX_FUZZ_CHECK(in_hour(error.retry_after()));
  TINKEX_FUZZ_CHECK(in_hour(internal::parse_retry_after(reply)));

  const RetryDecision decision = internal::decide(reply, error.category(), true);
  TINKEX_FUZZ_CHECK(error.retryable() ==
                    (internal::decide(reply, error.category(), false) == RetryDecision::kRetry));
  const std::string_view hint = reply.header("x-should-retry");
  if (error.category() == ErrorCategory::kUser && !internal::equals_ignoring_case(hint, "true")) {
    TINKEX_FUZZ_CHECK(decision == RetryDecision::kGiveUp);
  }
}

void check_poll_reply(const HttpResponse& reply) {
  const AllocationMeter meter;
  const std::string what = "sample";
  const std::string request_id = "request-1";
  const PollReply answer = internal::interpret_poll_reply(
      reply, {.what = what, .request_id = request_id, .secrets = kSecrets});
  TINKEX_FUZZ_CHECK(meter.peak() <= allowed_memory(reply.body.size()));
  const bool is_error = answer.kind == PollReply::Kind::kFailed ||
                        answer.kind == PollReply::Kind::kAskLater ||
                        answer.kind == PollReply::Kind::kBillingPause;
  TINKEX_FUZZ_CHECK(answer.error.has_value() == is_error);
  TINKEX_FUZZ_CHECK(!answer.delay || (*answer.delay >= 0ms && *answer.delay <= 1000h));
  if (answer.error) {
    check_error(*answer.error,
                {ErrorCode::kHttpStatus, ErrorCode::kRequestFailed, ErrorCode::kDecode});
    TINKEX_FUZZ_CHECK(!shows_a_key(answer.error->message()));
    TINKEX_FUZZ_CHECK(answer.error->request_id() == "request-1");
    TINKEX_FUZZ_CHECK(in_hour(answer.error->retry_after()));
  }
  // Only a success can be a result, and a request timeout only means to ask again.
  const bool success = reply.status >= 200 && reply.status < 300;
  TINKEX_FUZZ_CHECK(success || (answer.kind != PollReply::Kind::kDone &&
                                answer.kind != PollReply::Kind::kMetadataOnly));
  TINKEX_FUZZ_CHECK(reply.status != 408 || answer.kind == PollReply::Kind::kPending);
}

}  // namespace tinkex::fuzz
