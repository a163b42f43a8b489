#pragma once

#include <string>

#include "tinkex/tokenizers/jinja/arguments.h"
#include "tinkex/tokenizers/jinja/value.h"

namespace tinkex::jinja {

/// `value | name(arguments)`. A filter that is not known is an error of the run.
Value apply_filter(Run& run, const std::string& name, const Value& value,
                   const Arguments& arguments);

/// `value is name(arguments)`. A test that is not known is an error of the run.
bool apply_test(Run& run, const std::string& name, const Value& value, const Arguments& arguments);

}  // namespace tinkex::jinja
