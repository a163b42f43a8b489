#pragma once

#include <cstddef>
#include <functional>
#include <string_view>

namespace tinkex::torch_ext::local {

/// Recognises a repeated request. Not for integrity: it only has to tell honest bodies apart.
struct BodyDigest {
  std::size_t hash = 0;
  std::size_t size = 0;

  static BodyDigest of(std::string_view body) {
    return {std::hash<std::string_view>()(body), body.size()};
  }
  friend bool operator==(const BodyDigest&, const BodyDigest&) = default;
};

}  // namespace tinkex::torch_ext::local
