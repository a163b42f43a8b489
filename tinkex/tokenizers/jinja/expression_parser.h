#pragma once

#include "tinkex/tokenizers/jinja/ast.h"
#include "tinkex/tokenizers/jinja/token_reader.h"

namespace tinkex::jinja {

/// Each takes the longest expression from the tokens; after an error it is a constant.

/// With `a if b else c`.
ExprPtr parse_expression(TokenReader& tokens);
/// Without.
ExprPtr parse_plain_expression(TokenReader& tokens);
/// One, or a tuple of several between commas.
ExprPtr parse_expressions(TokenReader& tokens, bool conditional = true);

}  // namespace tinkex::jinja
