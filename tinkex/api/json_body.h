#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "tinkex/base/byte_buffer.h"
#include "tinkex/error.h"

namespace tinkex::api {

// Ordered: the wire order of a request is then the order in which the code names its fields.
using Json = nlohmann::ordered_json;
// Not ordered: an ordered object compares each new key with all before it, which a reply with a
// million of them would turn into hours.
using ReplyJson = nlohmann::json;

/// The text of `json`. Invalid UTF-8 becomes U+FFFD instead of an exception.
inline std::shared_ptr<ByteBuffer> to_body(const Json& json) {
  auto body = std::make_shared<ByteBuffer>();
  body->append(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  return body;
}

/// The text of the object `json` without its closing brace; more members follow.
inline std::shared_ptr<ByteBuffer> to_open_body(const Json& json) {
  auto body = to_body(json);
  body->truncate(body->size() - 1);
  return body;
}

/// Parses a reply that must be a JSON object of bounded depth. `what` names it in the error.
Result<ReplyJson> parse_object(std::string_view body, std::string_view what);

/// A string member, or an error that names it.
Result<std::string> string_member(const ReplyJson& object, const char* key, std::string_view what);

/// The id of a future: at most 1,024 bytes without control characters.
Result<std::string> request_id_of(const ReplyJson& object, std::string_view what);

/// The member, or the fallback when it is absent or of another type.
template <class T>
T value_or(const ReplyJson& object, const char* key, T fallback) {
  const auto found = object.find(key);
  if (found == object.end()) return fallback;
  if constexpr (std::is_same_v<T, std::string>) {
    return found->is_string() ? found->template get<T>() : fallback;
  } else if constexpr (std::is_same_v<T, bool>) {
    return found->is_boolean() ? found->template get<T>() : fallback;
  } else if constexpr (std::is_integral_v<T>) {
    if (!found->is_number()) return fallback;
    // A number outside the range is as good as none.
    if (found->is_number_unsigned()) {
      const auto value = found->template get<std::uint64_t>();
      return std::in_range<T>(value) ? static_cast<T>(value) : fallback;
    }
    if (found->is_number_integer()) return found->template get<T>();
    // Some servers write counts as 3.0.
    constexpr double kEnd = 9'007'199'254'740'992.0;  // 2^53, up to which doubles are exact
    const double value = found->template get<double>();
    return value >= -kEnd && value <= kEnd ? static_cast<T>(value) : fallback;
  } else {
    return found->is_number() ? found->template get<T>() : fallback;
  }
}

}  // namespace tinkex::api
