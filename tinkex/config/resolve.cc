#include "tinkex/config/resolve.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "tinkex/base/host.h"
#include "tinkex/base/text.h"
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

template <class Text>
void fill(Text& field, const char* variable) {
  if (!field.empty()) return;
  if (auto value = internal::read_env(variable)) field = *std::move(value);
}

struct HostPort {
  std::string host;
  std::optional<std::string> port;
};

/// Of an http or https URL, in lower case, without a port that is the scheme's; an empty host if it
/// is none.
HostPort host_and_port(std::string_view base_url) {
  const std::string origin = internal::normalised_origin(base_url);
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (origin.rfind(scheme, 0) != 0) continue;
    const std::string host = origin.substr(scheme.size());
    const std::size_t bracket = host.find(']');  // IPv6: colons before it are part of the host
    const std::size_t colon = host.find(':', bracket == std::string::npos ? 0 : bracket);
    if (colon == std::string::npos) return {host, std::nullopt};
    return {host.substr(0, colon), host.substr(colon + 1)};
  }
  return {};
}

bool is_usable(const std::string& port) {
  unsigned number = 0;
  const char* end = port.data() + port.size();
  const auto [rest, problem] = std::from_chars(port.data(), end, number);
  return problem == std::errc() && rest == end && number >= 1 && number <= 65'535;
}

/// The URL is shown in errors and descriptions later, so nothing secret may be in it.
Status check_base_url(const std::string& url, const HostPort& server) {
  if (url.find('@') != std::string::npos) {
    return invalid_argument(
        "base_url: a user name or password in it is not supported; remove everything up to the "
        "'@', and give a credential as api_key or in default_headers");
  }
  if (server.host.empty()) {
    return invalid_argument("base_url: " + internal::quoted(url) +
                            " is not a URL like https://host:port/prefix");
  }
  if (server.port && !is_usable(*server.port)) {
    return invalid_argument("base_url: " + internal::quoted(url) +
                            " has a port that is not a number from 1 to 65535");
  }
  if (!std::all_of(url.begin(), url.end(), internal::is_visible_ascii)) {
    return invalid_argument("base_url: " + internal::quoted(url) +
                            " contains a blank or a character that a URL does not allow");
  }
  if (url.find_first_of("?#") != std::string::npos) {
    return invalid_argument("base_url: " + internal::quoted(url) +
                            " has a query or a fragment; end it after the path");
  }
  return ok_status();
}

/// The URL without the `.` and `..` of its path, which the transport would send as they are.
std::string without_dots(const std::string& url) {
  const std::size_t begin = std::min(url.find('/', url.find("://") + 3), url.size());
  std::string path;
  for (std::size_t at = begin; at < url.size();) {
    const std::size_t end = std::min(url.find('/', at + 1), url.size());
    const std::string segment = url.substr(at, end - at);  // and the slash before it
    at = end;
    if (segment == "/..") {
      path.erase(std::min(path.rfind('/'), path.size()));
    } else if (segment != "/.") {
      path += segment;
    }
  }
  return url.substr(0, begin) + path;
}

/// A name or value that would end its line could add headers of its own.
Status check_headers(const HttpHeaders& headers) {
  for (const auto& [name, value] : headers) {
    if (name.empty() || name.find(':') != std::string::npos ||
        !std::all_of(name.begin(), name.end(), internal::is_visible_ascii)) {
      return invalid_argument("default_headers: " + internal::quoted(name) +
                              " is not a header name");
    }
    if (value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
      return invalid_argument("default_headers: the value of " + internal::quoted(name) +
                              " contains a line break or a zero byte");
    }
  }
  return ok_status();
}

/// `url_was_given`: by the caller, so that the environment does not change it.
Status check_api_key(const ClientOptions& options, const std::string& host, bool url_was_given) {
  const std::string_view key = options.api_key.reveal();
  if (!std::all_of(key.begin(), key.end(), internal::is_visible_ascii)) {
    return invalid_argument(
        "api_key: contains a blank, a line break or another character that HTTP does not allow");
  }
  if (options.transport != nullptr || internal::is_loopback_host(host)) return ok_status();
  if (key.empty()) {
    return invalid_argument("api_key: there is none for " + host +
                            "; give api_key or set TINKER_API_KEY, or name another server by " +
                            (url_was_given ? "base_url" : "base_url or TINKER_BASE_URL"));
  }
  if (!internal::looks_like_api_key(key)) {
    return invalid_argument(
        "api_key: a key must start with \"tml-\" (or \"eyJ\" for a token); the " +
        std::to_string(key.size()) + " characters given do not");
  }
  return ok_status();
}

Status check_ca_file(const std::string& path) {
  if (path.empty() || std::ifstream(path).get() != std::ifstream::traits_type::eof()) {
    return ok_status();
  }
  return invalid_argument("ca_file: " + internal::quoted(path, 200) +
                          " cannot be read or is empty; name a PEM file of trusted certificates "
                          "(ClientOptions::ca_file, or SSL_CERT_FILE)");
}

/// These travel as JSON, which is UTF-8.
Status check_texts(const ClientOptions& options) {
  const auto refuse = [](const std::string& what, const std::string& text) {
    return invalid_argument(what + ": expected UTF-8, got " + internal::quoted(text));
  };
  if (!internal::is_utf8(options.project_id)) return refuse("project_id", options.project_id);
  for (const std::string& tag : options.tags) {
    if (!internal::is_utf8(tag)) return refuse("tags", tag);
  }
  for (const auto& [key, value] : options.user_metadata) {
    if (!internal::is_utf8(key)) return refuse("user_metadata", key);
    if (!internal::is_utf8(value)) {
      return refuse("user_metadata " + internal::quoted(key), value);
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
  constexpr int kMostThreads = 1'024;
  if (options.executor_threads < 0 || options.executor_threads > kMostThreads) {
    return invalid_argument("executor_threads: expected 0 (one per core) to " +
                            std::to_string(kMostThreads) + ", got " +
                            std::to_string(options.executor_threads));
  }
  const std::pair<const char*, std::chrono::milliseconds> times[] = {
      {"request_timeout", options.request_timeout},
      {"connect_timeout", options.connect_timeout},
      {"poll_timeout", options.poll_timeout},
      {"max_poll_failing", options.max_poll_failing},
      {"heartbeat_interval", options.heartbeat_interval}};
  for (const auto& [name, time] : times) {
    if (time > std::chrono::milliseconds::zero()) continue;
    return invalid_argument(std::string(name) + ": " + std::to_string(time.count()) +
                            " ms is no time to wait; use at least 1 ms");
  }
  return ok_status();
}

}  // namespace

Result<ClientOptions> resolve_options(ClientOptions options) {
  const bool url_was_given = !options.base_url.empty();
  fill(options.base_url, "TINKER_BASE_URL");
  if (options.base_url.empty()) options.base_url = kHostedBaseUrl;
  fill(options.api_key, "TINKER_API_KEY");
  fill(options.project_id, "TINKER_PROJECT_ID");
  if (options.tags.empty()) {
    if (auto tags = internal::read_env("TINKER_TAGS")) options.tags = split_tags(*tags);
  }
  const HostPort server = host_and_port(options.base_url);
  if (Status status = check_base_url(options.base_url, server); !status.ok()) return status.error();
  const std::size_t scheme = options.base_url.find(':');
  options.base_url.replace(0, scheme, internal::lower_case(options.base_url.substr(0, scheme)));
  options.base_url = without_dots(options.base_url);
  while (!options.base_url.empty() && options.base_url.back() == '/') options.base_url.pop_back();
  if (Status status = check_headers(options.default_headers); !status.ok()) return status.error();
  if (Status status = check_api_key(options, server.host, url_was_given); !status.ok()) {
    return status.error();
  }
  if (options.base_url.starts_with("https:") && !options.transport) {
    fill(options.ca_file, "SSL_CERT_FILE");
  }
  if (Status status = check_ca_file(options.ca_file); !status.ok()) return status.error();
  if (Status status = check_texts(options); !status.ok()) return status.error();
  if (Status status = check_numbers(options); !status.ok()) return status.error();
  return options;
}

}  // namespace tinkex
