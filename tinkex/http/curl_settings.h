#pragma once

#include <chrono>
#include <string>

namespace tinkex::internal {

/// What every request of an I/O thread has in common. The proxies are known before the thread
/// starts: libcurl would look for them in the environment, request by request, while a program
/// may be changing that on another thread, which the C library does not survive.
struct CurlSettings {
  std::string ca_file{};     ///< Names the trusted authorities; empty: the system's.
  std::string http_proxy{};  ///< For http URLs to other machines; empty: none. May hold a password.
  std::string https_proxy{};  ///< The same for https.
  std::string no_proxy{};  ///< Hosts that are reached without one, as CURLOPT_NOPROXY takes them.
  /// How long a server may leave bytes unacknowledged before its connection is given up. With
  /// HTTP/2 all requests share one, and their own timeouts leave it open: where the network has
  /// gone, it would take the next ones too, for as long as the system tries to deliver.
  std::chrono::milliseconds unacknowledged_timeout{60'000};
};

}  // namespace tinkex::internal
