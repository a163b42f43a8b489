#include "tinkex/tokenizers/jinja/filters.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/jinja/json_text.h"
#include "tinkex/tokenizers/jinja/methods.h"
#include "tinkex/tokenizers/jinja/operators.h"
#include "tinkex/tokenizers/jinja/text.h"

namespace tinkex::jinja {
namespace {

using Filter = Value (*)(Run&, const Value&, const Arguments&);

/// Works on the text of any value.
template <std::string (*change)(std::string_view)>
Value change_filter(Run& run, const Value& value, const Arguments& arguments) {
  arguments.bind(run, "the filter", {});
  const std::string text = to_text(run, value);
  return run.spend(text.size()) ? Value::text(change(text)) : Value();
}

Value trim_filter(Run& run, const Value& value, const Arguments& arguments) {
  return call_method(run, Value::text(to_text(run, value)), "strip", arguments).value_or(Value());
}

Value string_filter(Run& run, const Value& value, const Arguments& arguments) {
  arguments.bind(run, "string", {});
  return Value::text(to_text(run, value));
}

Value replace_filter(Run& run, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind(run, "replace", {"old", "new", "count"}, 2);
  if (!run.ok()) return {};
  const bool all = !bound[2] || bound[2]->is_none();
  return replaced(run, to_text(run, value), to_text(run, *bound[0]), to_text(run, *bound[1]),
                  all ? -1 : std::max<std::int64_t>(integer_of(run, bound[2], -1), -1));
}

Value length_filter(Run& run, const Value& value, const Arguments& arguments) {
  arguments.bind(run, "length", {});
  std::size_t size = 0;
  if (const std::string* text = value.text()) {
    if (!run.spend_text(text->size())) return {};
    size = length(*text);
  } else if (const ListData* list = value.list()) {
    size = list->items.size();
  } else if (const DictData* dict = value.dict()) {
    size = dict->items.size();
  } else if (!value.is_undefined()) {
    return run.fail("a " + value.type_name() + " has no length");
  }
  return Value::integer(static_cast<std::int64_t>(size));
}

Value default_filter(Run& run, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind(run, "default", {"default_value", "boolean"});
  const bool if_false = bound[1] && bound[1]->is_true();
  const bool replaces = value.is_undefined() || (if_false && !value.is_true());
  return replaces ? bound[0].value_or(Value::text("")) : value;
}

template <bool last>
Value end_filter(Run& run, const Value& value, const Arguments& arguments) {
  arguments.bind(run, last ? "last" : "first", {});
  const auto items = elements(run, value);
  if (!items || items->empty()) return Value::undefined("there is no first or last element");
  return last ? items->back() : items->front();
}

Value list_filter(Run& run, const Value& value, const Arguments& arguments) {
  arguments.bind(run, "list", {});
  auto items = elements(run, value);
  return items ? Value::list(run, *std::move(items)) : Value();
}

Value reverse_filter(Run& run, const Value& value, const Arguments& arguments) {
  arguments.bind(run, "reverse", {});
  if (value.text() != nullptr) return slice_of(run, value, {}, {}, Value::integer(-1));
  auto items = elements(run, value);
  if (!items) return {};
  std::reverse(items->begin(), items->end());
  return Value::list(run, *std::move(items));
}

Value items_filter(Run& run, const Value& value, const Arguments& arguments) {
  arguments.bind(run, "items", {});
  if (value.is_undefined()) return Value::list(run, {});
  if (value.dict() != nullptr) return items_of(run, *value.dict());
  return run.fail("a " + value.type_name() + " has no items");
}

/// The keys of `a.0.b`, a name with points; another value is a key itself.
std::vector<Value> path_of(Run& run, const Value& attribute) {
  const std::string* text = attribute.text();
  if (text == nullptr) return {attribute};
  if (!run.spend(text->size())) return {};
  const std::vector<std::string_view> names = split(*text, ".", -1, false);
  if (!run.spend(4 * names.size())) return {};
  std::vector<Value> path;
  path.reserve(names.size());
  for (const std::string_view name : names) {
    const bool index = !name.empty() && name.size() < 10 &&
                       name.find_first_not_of("0123456789") == std::string_view::npos;
    path.push_back(index ? Value::integer(std::stoll(std::string(name)))
                         : Value::text(std::string(name)));
  }
  return path;
}

/// `value.a.0.b`.
Value attribute_at(Run& run, Value value, const std::vector<Value>& path) {
  for (std::size_t i = 0; i < path.size() && run.spend(1); ++i) {
    value = item_of(run, value, path[i]);
  }
  return value;
}

Value join_filter(Run& run, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind(run, "join", {"d", "attribute"});
  const auto items = elements(run, value);
  const bool whole = !bound[1] || bound[1]->is_none();
  const std::vector<Value> path = whole ? std::vector<Value>() : path_of(run, *bound[1]);
  const std::string separator = bound[0] ? to_text(run, *bound[0]) : "";
  Joiner joiner(run, separator);
  for (std::size_t i = 0; items && i < items->size() && run.ok(); ++i) {
    joiner.add(attribute_at(run, (*items)[i], path));
  }
  return std::move(joiner).take();
}

/// A number in a text, as `int` and `float` of Python read it.
std::optional<double> read_number(std::string_view text) {
  text = strip(text, Side::kBoth);
  if (text.starts_with('+')) text.remove_prefix(1);
  return real_of(text);
}

Value int_filter(Run& run, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind(run, "int", {"default"});
  if (value.is_undefined()) return run.fail(value.why_undefined());
  Value otherwise = bound[0].value_or(Value::integer(0));
  if (value.whole()) return Value::integer(*value.whole());
  std::optional<double> number = value.number();
  if (const std::string* text = value.text()) {
    if (!run.spend(text->size())) return {};
    std::string_view digits = strip(*text, Side::kBoth);
    if (digits.starts_with('+')) digits.remove_prefix(1);
    std::int64_t whole = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), whole);
    if (error == std::errc() && !digits.empty() && end == digits.data() + digits.size()) {
      return Value::integer(whole);
    }
    number = read_number(*text);
  }
  if (!number || !std::isfinite(*number)) return otherwise;
  if (std::abs(*number) >= 0x1p63) return run.fail("a number does not fit into 64 bits");
  return Value::integer(static_cast<std::int64_t>(*number));
}

Value float_filter(Run& run, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind(run, "float", {"default"});
  if (value.is_undefined()) return run.fail(value.why_undefined());
  std::optional<double> number = value.number();
  if (const std::string* text = value.text()) {
    number = run.spend(text->size()) ? read_number(*text) : std::nullopt;
  }
  return number ? Value::real(*number) : bound[0].value_or(Value::real(0));
}

Value abs_filter(Run& run, const Value& value, const Arguments& arguments) {
  arguments.bind(run, "abs", {});
  return value.number().value_or(-1) >= 0 ? arithmetic(run, Op::kAdd, value, Value::integer(0))
                                          : negative(run, value);
}

/// The arguments after the first `count`.
Arguments after(const Arguments& arguments, std::size_t count) {
  return {{arguments.plain.begin() + static_cast<std::ptrdiff_t>(count), arguments.plain.end()},
          arguments.named};
}

/// Those of a value that is true; of another there are none.
std::optional<std::vector<Value>> elements_if_true(Run& run, const Value& value) {
  return value.is_true() ? elements(run, value) : std::vector<Value>();
}

/// An attribute of each element, or each through a filter.
Value map_filter(Run& run, const Value& value, const Arguments& arguments) {
  const auto items = elements_if_true(run, value);
  if (!items) return {};
  std::vector<Value> found;
  if (!arguments.plain.empty()) {
    const std::string* name = arguments.plain[0].text();
    if (name == nullptr) return run.fail("map needs the name of a filter");
    const Arguments rest = after(arguments, 1);
    for (const Value& item : *items) {
      if (!run.spend(1)) return {};
      found.push_back(apply_filter(run, *name, item, rest));
    }
    return Value::list(run, std::move(found));
  }
  const auto bound = arguments.bind(run, "map", {"attribute", "default"}, 1);
  if (!run.ok()) return {};
  const std::vector<Value> path = path_of(run, *bound[0]);
  for (const Value& item : *items) {
    if (!run.spend(1)) return {};
    Value attribute = attribute_at(run, item, path);
    if (attribute.is_undefined() && bound[1]) attribute = *bound[1];
    found.push_back(std::move(attribute));
  }
  return Value::list(run, std::move(found));
}

/// The elements that a test takes, or that are true; or whose attribute is so.
template <bool keep, bool of_attribute>
Value select_filter(Run& run, const Value& value, const Arguments& arguments) {
  constexpr std::size_t kNameAt = of_attribute ? 1 : 0;
  const auto items = elements_if_true(run, value);
  if (arguments.plain.size() < kNameAt) return run.fail("the filter needs an attribute");
  const bool tests = arguments.plain.size() > kNameAt;
  const std::string* name = tests ? arguments.plain[kNameAt].text() : nullptr;
  if (tests && name == nullptr) return run.fail("the filter needs the name of a test");
  const Arguments rest = tests ? after(arguments, kNameAt + 1) : Arguments();
  const std::vector<Value> path =
      of_attribute ? path_of(run, arguments.plain[0]) : std::vector<Value>();
  std::vector<Value> found;
  for (std::size_t i = 0; items && i < items->size() && run.spend(1); ++i) {
    const Value& item = (*items)[i];
    const Value tested = attribute_at(run, item, path);
    if ((tests ? apply_test(run, *name, tested, rest) : tested.is_true()) == keep) {
      found.push_back(item);
    }
  }
  return Value::list(run, std::move(found));
}

const std::map<std::string, Filter, std::less<>>& filters() {
  static const std::map<std::string, Filter, std::less<>> all = {
      {"abs", abs_filter},
      {"capitalize", change_filter<capitalize>},
      {"count", length_filter},
      {"d", default_filter},
      {"default", default_filter},
      {"first", end_filter<false>},
      {"float", float_filter},
      {"int", int_filter},
      {"items", items_filter},
      {"join", join_filter},
      {"last", end_filter<true>},
      {"length", length_filter},
      {"list", list_filter},
      {"lower", change_filter<lower>},
      {"map", map_filter},
      {"reject", select_filter<false, false>},
      {"rejectattr", select_filter<false, true>},
      {"replace", replace_filter},
      {"reverse", reverse_filter},
      {"select", select_filter<true, false>},
      {"selectattr", select_filter<true, true>},
      {"string", string_filter},
      {"title", change_filter<title_words>},
      {"tojson", to_json},
      {"trim", trim_filter},
      {"upper", change_filter<upper>},
  };
  return all;
}

}  // namespace

std::vector<std::string> filter_names() {
  std::vector<std::string> names;
  for (const auto& [name, ignored] : filters()) names.push_back(name);
  return names;
}

Value apply_filter(Run& run, const std::string& name, const Value& value,
                   const Arguments& arguments) {
  const auto found = filters().find(name);
  if (found != filters().end()) return found->second(run, value, arguments);
  return run.fail("the filter " + internal::quoted(name, 40) + " is not supported");
}

}  // namespace tinkex::jinja
