#pragma once

#include <string>
#include <string_view>

namespace sft {

/// `http://` or `https://` if a URL begins so, in any case; else empty.
std::string_view scheme_of(std::string_view url);

/// Scheme, host and port of a URL on one line. User information, which may hold a password, path
/// and query are left out.
std::string origin_of(std::string_view url);

/// The server that `base_url`, or where it is empty the environment, stands for.
std::string server_name(const std::string& base_url);

}  // namespace sft
