#pragma once

#include <cstddef>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

#include "tinkex/secret.h"

namespace tinkex::internal {

/// Scheme, host and port of a URL in one spelling: scheme and host in lower case, the scheme's
/// default port, user information, path, query, fragment and a final dot of the host left out, IPv6
/// addresses in their canonical form. Text that is no URL comes back in lower case.
std::string normalised_origin(std::string_view url);

/// Who shares a back-off window: everyone with the same server and the same credential. The only
/// way to make one normalises the URL, so two spellings of a server cannot end up apart. Printing
/// shows the server and never the credential.
class LimiterKey {
 public:
  LimiterKey(std::string_view base_url, Secret api_key)
      : origin_(normalised_origin(base_url)), api_key_(std::move(api_key)) {}

  const std::string& origin() const noexcept { return origin_; }
  std::size_t hash() const noexcept;

  friend bool operator==(const LimiterKey& a, const LimiterKey& b) noexcept {
    return a.origin_ == b.origin_ && a.api_key_ == b.api_key_;
  }
  friend std::ostream& operator<<(std::ostream& stream, const LimiterKey& key) {
    return stream << key.origin_ << " with key " << key.api_key_;
  }

 private:
  std::string origin_;
  Secret api_key_;
};

}  // namespace tinkex::internal
