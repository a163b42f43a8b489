#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>

#include <string>
#include <string_view>

#include "tinkex/base/text.h"

namespace tinkex::internal {

/// Whether it is an address of this machine itself, written in full: RFC 1122 3.2.1.3, RFC 4291
/// 2.5.3. Names are none, however they begin.
inline bool is_loopback_address(const std::string& text) noexcept {
  if (text.find('\0') != std::string::npos) return false;
  in_addr v4{};
  if (::inet_pton(AF_INET, text.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
  in6_addr v6{};
  return ::inet_pton(AF_INET6, text.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/// Whether the host of a URL (an IPv6 address with its brackets) is this machine for certain,
/// whatever a name server says: RFC 6761 6.3. Names count in any case, with the root's dot too.
inline bool is_loopback_host(std::string_view host) {
  const std::string lower = lower_case(host);
  std::string_view name = lower;
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name == "localhost" || name.ends_with(".localhost")) return true;
  const bool in_brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
  const std::string address(in_brackets ? host.substr(1, host.size() - 2) : host);
  const bool is_v6 = address.find(':') != std::string::npos;
  return in_brackets == is_v6 && is_loopback_address(address);
}

}  // namespace tinkex::internal
