#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tinkex/tokenizers/jinja/arguments.h"
#include "tinkex/tokenizers/jinja/value.h"

namespace tinkex::jinja {

/// `value.name(arguments)` for the methods of texts, dicts and loops; nullopt, without an error, if
/// the value has no such method.
std::optional<Value> call_method(Run& run, const Value& value, const std::string& name,
                                 const Arguments& arguments);
/// The names of all methods.
std::vector<std::string> method_names();

/// `text.replace(old, with, count)`, which is a filter too.
Value replaced(Run& run, std::string_view text, std::string_view old, std::string_view with,
               std::int64_t limit);

/// Pairs of key and value.
Value items_of(Run& run, const DictData& dict);

/// `separator.join(items)`, item by item: each is spent for before it is copied.
class Joiner {
 public:
  Joiner(Run& run, std::string_view separator) : run_(run), separator_(separator) {}

  void add(std::string_view text);
  /// `str(item)`.
  void add(const Value& item);
  Value take() && { return run_.ok() ? Value::text(std::move(out_)) : Value(); }

 private:
  Run& run_;
  const std::string_view separator_;
  std::string out_;
  bool first_ = true;
};

}  // namespace tinkex::jinja
