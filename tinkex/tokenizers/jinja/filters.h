#pragma once

#include <string>
#include <vector>

#include "tinkex/tokenizers/jinja/arguments.h"
#include "tinkex/tokenizers/jinja/value.h"

namespace tinkex::jinja {

/// `value | name(arguments)`. A filter that is not known is an error of the run.
Value apply_filter(Run& run, const std::string& name, const Value& value,
                   const Arguments& arguments);
/// The names of all filters.
std::vector<std::string> filter_names();

/// `value is name(arguments)`. A test that is not known is an error of the run.
bool apply_test(Run& run, const std::string& name, const Value& value, const Arguments& arguments);
/// The names of all tests.
std::vector<std::string> test_names();

}  // namespace tinkex::jinja
