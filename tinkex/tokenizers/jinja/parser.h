#pragma once

#include <string_view>

#include "tinkex/error.h"
#include "tinkex/tokenizers/jinja/ast.h"

namespace tinkex::jinja {

/// A template of UTF-8 as a tree: text, `{{ }}`, and the statements if, for, set, break, continue
/// and generation. Whatever is nested too deeply is refused. Errors are kInvalidArgument and begin
/// with the line.
Result<Body> parse(std::string_view source);

}  // namespace tinkex::jinja
