#pragma once

#include "tinkex/tokenizers/jinja/ast.h"
#include "tinkex/tokenizers/jinja/value.h"

namespace tinkex::jinja {

/// `a op b` for the arithmetic of Python: on numbers, texts and lists. Integers that do not fit
/// into 64 bits are an error.
Value arithmetic(Run& run, Op op, const Value& a, const Value& b);
/// `-a`.
Value negative(Run& run, const Value& a);

bool compare(Run& run, Op op, const Value& a, const Value& b);
/// `item in container`.
bool contains(Run& run, const Value& container, const Value& item);

/// `value[key]`; undefined where there is none.
Value item_of(Run& run, const Value& value, const Value& key);
/// `value.name`.
Value attribute_of(Run& run, const Value& value, const std::string& name);
/// `value[start:stop:step]`; undefined bounds are those that were left out.
Value slice_of(Run& run, const Value& value, const Value& start, const Value& stop,
               const Value& step);

}  // namespace tinkex::jinja
