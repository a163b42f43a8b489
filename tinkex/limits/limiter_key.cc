#include "tinkex/limits/limiter_key.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <functional>

#include "tinkex/base/text.h"

namespace tinkex::internal {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

/// `address` stands between the brackets and is in lower case; an unreadable one stays as it is.
std::string canonical_ipv6(const std::string& address) {
  const std::size_t zone = std::min(address.find('%'), address.size());
  in6_addr parsed{};
  if (inet_pton(AF_INET6, address.substr(0, zone).c_str(), &parsed) != 1) return address;
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(AF_INET6, &parsed, text.data(), text.size());
  return text.data() + address.substr(zone);
}

/// Digits without leading zeros; other text as it is.
std::string_view canonical_port(std::string_view port) {
  while (port.size() > 1 && port.front() == '0') port.remove_prefix(1);
  return port;
}

bool is_default_port(std::string_view scheme, std::string_view port) {
  return port.empty() || (scheme == "https" && port == "443") || (scheme == "http" && port == "80");
}

struct HostPort {
  std::string host;
  std::string port;
};

HostPort split_host_port(const std::string& authority) {
  const std::size_t bracket = authority.front() == '[' ? authority.find(']') : std::string::npos;
  if (bracket != std::string::npos) {
    const bool has_port = authority.size() > bracket + 1 && authority[bracket + 1] == ':';
    return {"[" + canonical_ipv6(authority.substr(1, bracket - 1)) + "]",
            has_port ? authority.substr(bracket + 2) : std::string()};
  }
  const std::size_t colon = authority.rfind(':');
  if (colon == std::string::npos) return {authority, ""};
  return {authority.substr(0, colon), authority.substr(colon + 1)};
}

}  // namespace

std::string normalised_origin(std::string_view url) {
  std::string text = lower_case(trimmed(url));
  const std::size_t separator = text.find("://");
  if (separator == std::string::npos) return text;
  const std::string scheme = text.substr(0, separator);
  std::string authority = text.substr(separator + 3);
  authority.resize(std::min(authority.find_first_of("/?#"), authority.size()));
  authority.erase(0, authority.rfind('@') + 1);  // npos + 1 is 0
  if (authority.empty()) return scheme + "://";

  HostPort parts = split_host_port(authority);
  if (!parts.host.empty() && parts.host.back() == '.') parts.host.pop_back();
  std::string origin = scheme + "://" + parts.host;
  const std::string_view port = canonical_port(parts.port);
  if (!is_default_port(scheme, port)) origin.append(":").append(port);
  return origin;
}

std::size_t LimiterKey::hash() const noexcept {
  const std::size_t server = std::hash<std::string_view>{}(origin_);
  const std::size_t credential = std::hash<std::string_view>{}(api_key_.reveal());
  return server ^ (credential * 0x9e3779b97f4a7c15U);
}

}  // namespace tinkex::internal
