#pragma once

#include <string>

#include "tinkex/tokenizers/jinja/arguments.h"
#include "tinkex/tokenizers/jinja/value.h"

namespace tinkex::jinja {

/// `value.name(arguments)` for the methods of texts, dicts and loops; nullopt, without an error, if
/// the value has no such method.
std::optional<Value> call_method(Run& run, const Value& value, const std::string& name,
                                 const Arguments& arguments);

/// `text.replace(old, with, count)`, which is a filter too.
Value replaced(Run& run, const std::string& text, const std::string& old, const std::string& with,
               std::int64_t limit);

/// Pairs of key and value.
Value items_of(Run& run, const DictData& dict);

/// `separator.join(items)` of texts.
Value joined(Run& run, const std::string& separator, const std::vector<std::string>& items);

}  // namespace tinkex::jinja
