#include "tinkex/tokenizers/jinja/value.h"

#include <algorithm>
#include <limits>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/jinja/text.h"

namespace tinkex::jinja {
namespace {

constexpr int kDeepestValue = 64;
constexpr std::size_t kLongestError = 300;

bool fits(Run& run, const Value& value, int& depth) {
  if (!value.may_be_stored()) {
    run.fail("a " + value.type_name() + " cannot be stored in another value");
    return false;
  }
  depth = std::max(depth, value.depth() + 1);
  if (depth <= kDeepestValue) return true;
  run.fail("lists and dicts are nested more than " + std::to_string(kDeepestValue) + " deep");
  return false;
}

bool is_key(const Value& value) {
  return value.text() != nullptr || value.number() || value.is_none();
}

/// Where an equal key is, or the end.
template <class Items>
auto place_of(Run& run, Items& items, const Value& key) {
  return std::find_if(items.begin(), items.end(),
                      [&](const auto& item) { return equal(run, item.first, key); });
}

bool equal_lists(Run& run, const ListData& a, const ListData& b) {
  return a.tuple == b.tuple && a.items.size() == b.items.size() &&
         std::equal(a.items.begin(), a.items.end(), b.items.begin(),
                    [&](const Value& x, const Value& y) { return equal(run, x, y); });
}

bool equal_dicts(Run& run, const DictData& a, const DictData& b) {
  return a.items.size() == b.items.size() &&
         std::all_of(a.items.begin(), a.items.end(), [&](const auto& item) {
           const Value* other = find(run, b, item.first);
           return other != nullptr && equal(run, item.second, *other);
         });
}

}  // namespace

Value Value::list(Run& run, std::vector<Value> items, bool tuple) {
  int depth = 1;
  if (!run.spend(items.size())) return {};
  for (const Value& item : items) {
    if (!fits(run, item, depth)) return {};
  }
  return Value(std::shared_ptr<const ListData>(
      std::make_shared<ListData>(ListData{std::move(items), tuple, depth})));
}

Value Value::dict(Run& run, std::vector<std::pair<Value, Value>> items, bool unique) {
  DictData data;
  for (auto& [key, value] : items) {
    if (!is_key(key)) return run.fail("a " + key.type_name() + " cannot be a key");
    if (!fits(run, value, data.depth)) return {};
    const auto old = unique ? data.items.end() : place_of(run, data.items, key);
    if (!run.spend(1)) return {};
    if (old != data.items.end()) {
      old->second = std::move(value);
    } else {
      data.items.emplace_back(std::move(key), std::move(value));
    }
  }
  return Value(std::shared_ptr<const DictData>(std::make_shared<DictData>(std::move(data))));
}

std::optional<std::int64_t> Value::whole() const {
  if (const auto* integer = std::get_if<std::int64_t>(&data_)) return *integer;
  if (const bool* flag = boolean()) return *flag ? 1 : 0;
  return std::nullopt;
}

std::optional<double> Value::number() const {
  if (const double* value = real()) return *value;
  if (const auto value = whole()) return static_cast<double>(*value);
  return std::nullopt;
}

bool Value::is_true() const {
  if (is_undefined() || is_none()) return false;
  if (const auto value = number()) return *value != 0;
  if (const std::string* value = text()) return !value->empty();
  if (const ListData* value = list()) return !value->items.empty();
  if (const DictData* value = dict()) return !value->items.empty();
  return true;
}

std::string Value::type_name() const {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "NoneType";
  if (boolean() != nullptr) return "bool";
  if (is_integer()) return "int";
  if (real() != nullptr) return "float";
  if (text() != nullptr) return "str";
  if (list() != nullptr) return list()->tuple ? "tuple" : "list";
  if (dict() != nullptr) return "dict";
  if (space() != nullptr) return "namespace";
  return loop() != nullptr ? "loop" : "function";
}

std::string Value::why_undefined() const {
  const auto* undefined = std::get_if<Undefined>(&data_);
  return undefined != nullptr && undefined->why ? *undefined->why : "a value is undefined";
}

int Value::depth() const {
  if (const ListData* value = list()) return value->depth;
  if (const DictData* value = dict()) return value->depth;
  return 0;
}

Value NamespaceData::get(std::string_view name) const {
  const auto found = std::find_if(items.begin(), items.end(),
                                  [&](const auto& item) { return item.first == name; });
  if (found != items.end()) return found->second;
  return Value::undefined("the namespace has no " + internal::quoted(name));
}

void NamespaceData::set(std::string_view name, Value value) {
  const auto found = std::find_if(items.begin(), items.end(),
                                  [&](const auto& item) { return item.first == name; });
  if (found == items.end()) {
    items.emplace_back(name, std::move(value));
  } else {
    found->second = std::move(value);
  }
}

Value Run::fail(const std::string& what) {
  if (!error_) {
    const std::string where = line_ > 0 ? "line " + std::to_string(line_) + ": " : "";
    error_ = where + internal::printable(what, kLongestError);
  }
  return {};
}

bool Run::spend(std::size_t units) {
  if (!ok()) return false;
  if (units <= left_) {
    left_ -= units;
    return true;
  }
  left_ = 0;
  fail("the template takes too many steps, or makes too much text, for these messages");
  return false;
}

bool Run::spend_search(std::size_t bytes, std::size_t wanted) {
  std::size_t compared = 0;
  if (__builtin_mul_overflow(bytes, wanted, &compared)) {
    compared = std::numeric_limits<std::size_t>::max();
  }
  return spend_text(bytes) && spend_text(wanted) && spend(compared / 64);
}

bool equal(Run& run, const Value& a, const Value& b) {
  if (!run.spend(1)) return false;
  if (a.is_undefined() || b.is_undefined()) return a.is_undefined() && b.is_undefined();
  if (a.is_none() || b.is_none()) return a.is_none() && b.is_none();
  if (a.whole() && b.whole()) return a.whole() == b.whole();
  if (a.number() && b.number()) return *a.number() == *b.number();
  if (a.text() != nullptr && b.text() != nullptr) {
    return run.spend_text(std::min(a.text()->size(), b.text()->size())) && *a.text() == *b.text();
  }
  if (a.list() != nullptr && b.list() != nullptr) return equal_lists(run, *a.list(), *b.list());
  if (a.dict() != nullptr && b.dict() != nullptr) return equal_dicts(run, *a.dict(), *b.dict());
  if (a.function() != nullptr && b.function() != nullptr) return *a.function() == *b.function();
  return (a.space() != nullptr && a.space() == b.space()) ||
         (a.loop() != nullptr && a.loop() == b.loop());
}

const Value* find(Run& run, const DictData& dict, const Value& key) {
  for (const auto& [name, value] : dict.items) {
    if (equal(run, name, key)) return run.ok() ? &value : nullptr;
  }
  return nullptr;
}

std::optional<std::vector<Value>> elements(Run& run, const Value& value) {
  std::vector<Value> found;
  if (value.is_undefined()) return found;
  if (const ListData* list = value.list()) {
    if (!run.spend(list->items.size())) return std::nullopt;
    return list->items;
  }
  if (const DictData* dict = value.dict()) {
    if (!run.spend(dict->items.size())) return std::nullopt;
    for (const auto& [key, ignored] : dict->items) found.push_back(key);
    return found;
  }
  if (const std::string* text = value.text()) {
    // Each character becomes a value, which is much larger.
    if (!run.spend(8 * text->size())) return std::nullopt;
    for (const std::string_view character : characters(*text)) {
      found.push_back(Value::text(std::string(character)));
    }
    return found;
  }
  run.fail("a loop needs a list, a dict or a text, and this is of type " + value.type_name());
  return std::nullopt;
}

}  // namespace tinkex::jinja
