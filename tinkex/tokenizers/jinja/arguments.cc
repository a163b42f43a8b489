#include "tinkex/tokenizers/jinja/arguments.h"

#include <algorithm>

#include "tinkex/base/text.h"

namespace tinkex::jinja {

std::vector<std::optional<Value>> Arguments::bind(Run& run, std::string_view called,
                                                  std::initializer_list<const char*> names,
                                                  std::size_t required) const {
  std::vector<std::optional<Value>> bound(names.size());
  const std::string function(called);
  if (plain.size() > names.size()) {
    run.fail(function + " takes " + std::to_string(names.size()) + " arguments, not " +
             std::to_string(plain.size()));
    return bound;
  }
  std::copy(plain.begin(), plain.end(), bound.begin());
  for (const auto& [name, value] : named) {
    const auto at = std::find(names.begin(), names.end(), name);
    if (at == names.end() || bound[static_cast<std::size_t>(at - names.begin())]) {
      run.fail(function + " takes no argument, or another already, for " +
               internal::quoted(name, 40));
      return bound;
    }
    bound[static_cast<std::size_t>(at - names.begin())] = value;
  }
  for (std::size_t i = 0; i < required; ++i) {
    if (!bound[i]) run.fail(function + " needs the argument " + *(names.begin() + i));
  }
  return bound;
}

std::int64_t integer_of(Run& run, const std::optional<Value>& argument, std::int64_t otherwise) {
  if (!argument) return otherwise;
  if (const auto value = argument->whole()) return *value;
  run.fail("an argument should be an integer, and is a " + argument->type_name());
  return otherwise;
}

}  // namespace tinkex::jinja
