#include "examples/support/server_name.h"

#include <strings.h>

#include <cstdlib>

#include "examples/support/report.h"

namespace sft {

std::string_view scheme_of(std::string_view url) {
  for (const std::string_view known : {"http://", "https://"}) {
    if (url.size() >= known.size() && ::strncasecmp(url.data(), known.data(), known.size()) == 0)
      return known;
  }
  return {};
}

std::string origin_of(std::string_view url) {
  const std::string_view scheme = scheme_of(url);
  std::string_view host = url.substr(scheme.size());
  // First, and the last one: a password may hold any of the other characters.
  const std::size_t user = host.rfind('@');
  if (user != std::string_view::npos) host.remove_prefix(user + 1);
  host = host.substr(0, host.find_first_of("/?#"));
  constexpr std::size_t kMost = 200;
  return std::string(scheme) + show_text(host, kMost);
}

std::string server_name(const std::string& base_url) {
  const char* const variable = std::getenv("TINKER_BASE_URL");  // NOLINT(*-mt-unsafe)
  if (!base_url.empty()) return origin_of(base_url);
  if (variable != nullptr && *variable != '\0') return origin_of(variable);
  return "the hosted service";
}

}  // namespace sft
