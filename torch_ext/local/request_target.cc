#include "torch_ext/local/request_target.h"

#include <charconv>

namespace tinkex::torch_ext::local {
namespace {

constexpr std::string_view kRoot = "/api/v1/";

std::optional<std::string> percent_decode(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    unsigned byte = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    if (digits.size() != 2 || error != std::errc() || end != digits.data() + 2) return std::nullopt;
    decoded += static_cast<char>(byte);
    i += 2;
  }
  return decoded;
}

/// Takes the part before the next `separator` off `text`.
std::string_view take_until(std::string_view& text, char separator) {
  const std::size_t at = text.find(separator);
  const std::string_view part = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
  return part;
}

bool parse_query(std::string_view text, TextMap& query) {
  while (!text.empty()) {
    std::string_view value = take_until(text, '&');
    const auto name = percent_decode(take_until(value, '='));
    const auto decoded = percent_decode(value);
    if (!name || !decoded) return false;
    query.insert_or_assign(*name, *decoded);
  }
  return true;
}

}  // namespace

std::optional<RequestTarget> parse_target(std::string_view target) {
  std::string_view path = take_until(target, '?');
  const std::size_t root = path.find(kRoot);
  if (root == std::string_view::npos) return std::nullopt;
  path.remove_prefix(root + kRoot.size());
  RequestTarget parsed;
  while (!path.empty()) {
    auto segment = percent_decode(take_until(path, '/'));
    if (!segment) return std::nullopt;
    parsed.segments.push_back(*std::move(segment));
  }
  if (!parse_query(target, parsed.query)) return std::nullopt;
  return parsed;
}

bool matches(std::string_view pattern, const std::vector<std::string>& segments,
             TextMap& parameters) {
  for (const std::string& segment : segments) {
    if (pattern.empty()) return false;
    const std::string_view part = take_until(pattern, '/');
    if (part.starts_with('{')) {
      if (segment.empty()) return false;
      parameters.insert_or_assign(std::string(part.substr(1, part.size() - 2)), segment);
    } else if (part != segment) {
      return false;
    }
  }
  return pattern.empty();
}

}  // namespace tinkex::torch_ext::local
