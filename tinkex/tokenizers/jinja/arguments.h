#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tinkex/tokenizers/jinja/value.h"

namespace tinkex::jinja {

/// What a function, method, filter or test is called with.
struct Arguments {
  std::vector<Value> plain;
  std::vector<std::pair<std::string, Value>> named;

  /// By the names of its parameters; nullopt for one that is not given. An error of the run, and
  /// nothing given, if `required` ones are missing or others are there.
  std::vector<std::optional<Value>> bind(Run& run, std::string_view called,
                                         std::initializer_list<const char*> names,
                                         std::size_t required = 0) const;
};

/// The integer of an argument. An error of the run if it is another type.
std::int64_t integer_of(Run& run, const std::optional<Value>& argument, std::int64_t otherwise);

}  // namespace tinkex::jinja
