#include "tinkex/retry/classify.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "tinkex/base/bounded_json.h"
#include "tinkex/base/text.h"

namespace tinkex::internal {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr std::size_t kShortestSecret = 6;
constexpr std::size_t kMaxText = 1'000;
// A body longer than this is no error message; its beginning is shown.
constexpr std::size_t kMaxParsedBody = 256 * 1024;
constexpr int kMaxDepth = 32;

std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

std::optional<milliseconds> positive_delay(double delay_ms, milliseconds cap) {
  if (!(delay_ms > 0)) return std::nullopt;
  const double capped = std::min(delay_ms, static_cast<double>(cap.count()));
  return milliseconds(static_cast<std::int64_t>(std::ceil(capped)));
}

std::string dumped(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

json parse_short(std::string_view body) {
  if (body.size() > kMaxParsedBody) return nullptr;
  return parse_bounded(body, kMaxDepth);
}

/// A location such as ["body", "data", 0] as `body.data.0: `.
std::string location_of(const json& item) {
  const auto found = item.find("loc");
  if (found == item.end() || !found->is_array()) return {};
  std::string text;
  for (const json& part : *found) {
    if (!text.empty()) text += '.';
    text += part.is_string() ? part.get<std::string>() : dumped(part);
  }
  return text.empty() ? text : text + ": ";
}

/// Validation errors come as a list of {"loc": [...], "msg": "..."} or of texts.
std::string text_of_list(const json& list) {
  std::string text;
  for (const json& item : list) {
    if (!text.empty()) text += "; ";
    if (item.is_object() && item.contains("msg") && item["msg"].is_string()) {
      text += location_of(item) + item["msg"].get<std::string>();
    } else {
      text += item.is_string() ? item.get<std::string>() : dumped(item);
    }
    if (text.size() > kMaxText) break;
  }
  return text;
}

std::string text_of(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_null()) return {};
  return value.is_array() ? text_of_list(value) : dumped(value);
}

std::string message_of(const json& object) {
  if (!object.is_object()) return {};
  for (const char* key : {"detail", "message", "error"}) {
    const auto found = object.find(key);
    if (found == object.end()) continue;
    if (found->is_object()) {
      if (std::string inner = message_of(*found); !inner.empty()) return inner;
    }
    if (std::string text = text_of(*found); !text.empty()) return text;
  }
  return {};
}

bool is_secret_header(std::string_view name) {
  const std::string lower = lower_case(name);
  const std::string_view words[] = {"key", "token", "auth", "secret", "cookie"};
  return std::any_of(std::begin(words), std::end(words), [&lower](std::string_view word) {
    return lower.find(word) != std::string::npos;
  });
}

/// Whether a text says more than that something was not found, which a page of any server does.
bool says_what_is_missing(std::string_view text) {
  return !text.empty() && !equals_ignoring_case(text, "Not Found");
}

/// `told` is what the server itself says, "" if that is not an answer of this API.
std::string_view hint_for(int status, std::string_view told) {
  switch (status) {
    case 401: return " (is TINKER_API_KEY set and valid?)";
    case 403: return " (may this key do that?)";
    case 407: return " (does the URL of the proxy name a user and a password?)";
    case 404:
      if (says_what_is_missing(told)) return "";
      return " (does this server have it, and is the base URL right?)";
    default: return "";
  }
}

}  // namespace

bool is_in_json(const HttpResponse& reply) { return parse_short(reply.body).is_object(); }

std::string tidy_server_text(std::string_view text, std::span<const std::string_view> secrets) {
  const std::string_view start = text.substr(0, 2 * kMaxText);
  return printable(without_secrets(start, secrets, start.size() < text.size()), kMaxText);
}

std::vector<std::string_view> secrets_of(const HttpRequest& request) {
  std::vector<std::string_view> secrets;
  for (const auto& [name, value] : request.headers) {
    if (!is_secret_header(name)) continue;
    const std::string_view secret = std::string_view(value).substr(value.rfind(' ') + 1);
    if (secret.size() >= kShortestSecret) secrets.push_back(secret);
  }
  return secrets;
}

RetryDecision decide(const HttpResponse& reply, ErrorCategory category, bool outcome_unknown) {
  const std::string_view hint = reply.header("x-should-retry");
  if (equals_ignoring_case(hint, "true")) return RetryDecision::kRetry;
  if (equals_ignoring_case(hint, "false")) return RetryDecision::kGiveUp;
  if (category == ErrorCategory::kUser) return RetryDecision::kGiveUp;
  const int status = reply.status;
  if (status == 408 || status == 429 || status >= 500) return RetryDecision::kRetry;
  if (status == 409 && outcome_unknown) return RetryDecision::kRetry;
  return RetryDecision::kGiveUp;
}

std::optional<milliseconds> parse_retry_after(const HttpResponse& reply,
                                              std::chrono::system_clock::time_point wall_clock_now,
                                              milliseconds cap) {
  if (const auto ms = parse_number(reply.header("retry-after-ms"))) return positive_delay(*ms, cap);
  const std::string value(reply.header("retry-after"));
  if (value.empty()) return std::nullopt;
  if (const auto seconds = parse_number(value)) return positive_delay(*seconds * 1000.0, cap);
  const std::time_t date = curl_getdate(value.c_str(), nullptr);
  if (date == -1) return std::nullopt;
  // As floating-point numbers: a time_point of the year 9999 does not fit into nanoseconds.
  const std::chrono::duration<double, std::milli> now = wall_clock_now.time_since_epoch();
  return positive_delay(static_cast<double>(date) * 1000.0 - now.count(), cap);
}

Error error_from_response(const HttpResponse& reply, std::string_view what,
                          std::span<const std::string_view> secrets) {
  const json body = parse_short(reply.body);
  const std::string told = message_of(body);
  const std::string& text = told.empty() ? reply.body : told;
  std::string message = std::string(what) + ": the server answered " + std::to_string(reply.status);
  if (!text.empty()) message += ": " + tidy_server_text(text, secrets);
  message += hint_for(reply.status, told);

  ErrorCategory category = ErrorCategory::kUnknown;
  if (body.is_object()) {
    if (const auto found = body.find("category"); found != body.end() && found->is_string()) {
      category = parse_error_category(found->get<std::string>());
    }
  }
  std::optional<milliseconds> delay = parse_retry_after(reply);
  if (!delay && body.is_object()) {
    if (const auto found = body.find("retry_after_ms"); found != body.end() && found->is_number()) {
      delay = positive_delay(found->get<double>(), std::chrono::hours(1));
    }
  }
  return Error(ErrorCode::kHttpStatus, std::move(message))
      .with_http_status(reply.status)
      .with_category(category)
      .with_retryable(decide(reply, category, false) == RetryDecision::kRetry)
      .with_retry_after(delay);
}

}  // namespace tinkex::internal
