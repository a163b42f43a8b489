#pragma once

#include <algorithm>
#include <string_view>

namespace tinkex::internal {

/// Whether the host of a URL (an IPv6 address with its brackets) is this machine for certain,
/// whatever a name server says: RFC 6761 6.3, RFC 1122 3.2.1.3, RFC 4291 2.5.3.
inline bool is_loopback_host(std::string_view host) noexcept {
  const auto in_an_address = [](char c) { return c == '.' || (c >= '0' && c <= '9'); };
  return host == "localhost" || host.ends_with(".localhost") || host == "[::1]" ||
         (host.starts_with("127.") && std::all_of(host.begin(), host.end(), in_an_address));
}

}  // namespace tinkex::internal
