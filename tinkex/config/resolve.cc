#include "tinkex/config/resolve.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "tinkex/config/env.h"
#include "tinkex/limits/limiter_key.h"

namespace tinkex {
namespace {

constexpr char kHostedBaseUrl[] = "https://tinker.thinkingmachines.dev/services/tinker-prod";

std::vector<std::string> split_tags(std::string_view text) {
  std::vector<std::string> tags;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    std::string_view tag = text.substr(0, comma);
    while (!tag.empty() && tag.front() == ' ') tag.remove_prefix(1);
    while (!tag.empty() && tag.back() == ' ') tag.remove_suffix(1);
    if (!tag.empty()) tags.emplace_back(tag);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return tags;
}

void fill(std::string& field, const char* variable) {
  if (!field.empty()) return;
  if (auto value = internal::read_env(variable)) field = *std::move(value);
}

/// Host of an http or https URL, in lower case; empty if it is none.
std::string host_of(std::string_view base_url) {
  const std::string origin = internal::normalised_origin(base_url);
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (origin.rfind(scheme, 0) != 0) continue;
    const std::string host = origin.substr(scheme.size());
    const std::size_t bracket = host.find(']');  // IPv6: colons before it are part of the host
    const std::size_t colon = host.find(':', bracket == std::string::npos ? 0 : bracket);
    return host.substr(0, colon);
  }
  return {};
}

bool is_loopback(const std::string& host) {
  return host == "localhost" || host.ends_with(".localhost") || host.rfind("127.", 0) == 0 ||
         host == "[::1]";
}

Status check_api_key(const ClientOptions& options, const std::string& host) {
  if (options.transport != nullptr || is_loopback(host)) return ok_status();
  const std::string& key = options.api_key;
  if (key.empty()) {
    return invalid_argument("api_key: there is none for " + host +
                            "; set TINKER_API_KEY or ClientOptions::api_key");
  }
  if (key.rfind("tml-", 0) != 0 && key.rfind("eyJ", 0) != 0) {
    return invalid_argument(
        "api_key: a key must start with \"tml-\" (or \"eyJ\" for a token); the " +
        std::to_string(key.size()) + " characters given do not");
  }
  for (const char c : key) {
    if (c < 0x21 || c > 0x7e) {
      return invalid_argument("api_key: contains a blank or a character that HTTP does not allow");
    }
  }
  return ok_status();
}

Status check_numbers(const ClientOptions& options) {
  if (options.chunk_limits.max_examples == 0) {
    return invalid_argument("chunk_limits.max_examples: 0 lets no datum through; use at least 1");
  }
  if (options.max_concurrent_polls == 0) {
    return invalid_argument("max_concurrent_polls: 0 lets no result through; use at least 1");
  }
  if (options.retry.max_attempts < 1 || options.sample_retry.max_attempts < 1) {
    return invalid_argument("retry.max_attempts: must be at least 1, which means no repeat");
  }
  if (options.heartbeat_interval <= std::chrono::milliseconds::zero()) {
    return invalid_argument("heartbeat_interval: must be positive");
  }
  return ok_status();
}

}  // namespace

Result<ClientOptions> resolve_options(ClientOptions options) {
  fill(options.base_url, "TINKER_BASE_URL");
  if (options.base_url.empty()) options.base_url = kHostedBaseUrl;
  fill(options.api_key, "TINKER_API_KEY");
  fill(options.project_id, "TINKER_PROJECT_ID");
  if (options.tags.empty()) {
    if (auto tags = internal::read_env("TINKER_TAGS")) options.tags = split_tags(*tags);
  }
  const std::string host = host_of(options.base_url);
  if (host.empty()) {
    return invalid_argument("base_url: \"" + options.base_url +
                            "\" is not a URL like https://host:port/prefix");
  }
  while (!options.base_url.empty() && options.base_url.back() == '/') options.base_url.pop_back();
  if (Status status = check_api_key(options, host); !status.ok()) return status.error();
  if (Status status = check_numbers(options); !status.ok()) return status.error();
  return options;
}

}  // namespace tinkex
