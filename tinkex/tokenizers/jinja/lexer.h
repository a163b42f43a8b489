#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tinkex/error.h"

namespace tinkex::jinja {

struct Token {
  enum class Type {
    kText,  ///< Outside of all tags.
    kOutputBegin,
    kOutputEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kString,  ///< Its value.
    kInteger,
    kFloat,
    kOperator,
    kEnd,  ///< The last one.
  };
  Type type = Type::kEnd;
  std::string text;
  int line = 1;
};

/// The tokens of a template of UTF-8, as Jinja has them with `trim_blocks` and `lstrip_blocks`.
/// Errors are kInvalidArgument and begin with the line.
Result<std::vector<Token>> lex(std::string_view source);

}  // namespace tinkex::jinja
