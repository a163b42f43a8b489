#include "tinkex/tokenizers/jinja/methods.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "tinkex/tokenizers/jinja/text.h"

namespace tinkex::jinja {
namespace {

using Method = Value (*)(Run&, const std::string&, const Arguments&);

/// The text of an argument, which holds it. An error of the run if it is another type.
std::string_view text_of(Run& run, const Value& argument) {
  if (const std::string* text = argument.text()) return *text;
  run.fail("an argument should be a text, and is a " + argument.type_name());
  return "";
}
std::string_view text_of(Run& run, const std::optional<Value>& argument) {
  return argument ? text_of(run, *argument) : "";
}

std::int64_t limit_of(Run& run, const std::optional<Value>& argument) {
  return std::max<std::int64_t>(integer_of(run, argument, -1), -1);
}

/// `parts` are of a text whose bytes are spent for.
Value texts(Run& run, const std::vector<std::string_view>& parts) {
  // A value is much larger than a short text in it.
  if (!run.spend(4 * parts.size())) return {};
  std::vector<Value> values;
  values.reserve(parts.size());
  for (const std::string_view part : parts) values.push_back(Value::text(std::string(part)));
  return Value::list(run, std::move(values));
}

template <Side side>
Value strip_method(Run& run, const std::string& text, const Arguments& arguments) {
  const auto bound = arguments.bind(run, "strip", {"chars"});
  const bool given = bound[0] && !bound[0]->is_none();
  const std::string_view set = given ? text_of(run, bound[0]) : "";
  if (!run.spend_search(text.size(), set.size() + 1)) return {};
  return Value::text(std::string(given ? strip(text, side, set) : strip(text, side)));
}

template <bool from_right>
Value split_method(Run& run, const std::string& text, const Arguments& arguments) {
  const auto bound = arguments.bind(run, "split", {"sep", "maxsplit"});
  const std::int64_t limit = limit_of(run, bound[1]);
  if (!run.spend(text.size())) return {};
  if (!bound[0] || bound[0]->is_none()) {
    return texts(run, split_at_space(text, limit, from_right));
  }
  const std::string_view separator = text_of(run, bound[0]);
  if (separator.empty()) return run.fail("a text is split at an empty one");
  if (!run.spend_search(text.size(), separator.size())) return {};
  return texts(run, split(text, separator, limit, from_right));
}

Value splitlines_method(Run& run, const std::string& text, const Arguments& arguments) {
  const auto bound = arguments.bind(run, "splitlines", {"keepends"});
  if (!run.spend(text.size())) return {};
  return texts(run, split_lines(text, bound[0] && bound[0]->is_true()));
}

template <bool at_end>
Value starts_method(Run& run, const std::string& text, const Arguments& arguments) {
  const auto bound = arguments.bind(run, at_end ? "endswith" : "startswith", {"prefix"}, 1);
  if (!run.ok()) return {};
  const auto fits = [&](const Value& each) {
    const std::string_view part = text_of(run, each);
    return run.spend_text(part.size()) && (at_end ? text.ends_with(part) : text.starts_with(part));
  };
  const ListData* list = bound[0]->list();
  if (list == nullptr || !list->tuple) return Value::boolean(fits(*bound[0]));
  return Value::boolean(std::any_of(list->items.begin(), list->items.end(), [&](const Value& each) {
    return !run.ok() || fits(each);  // Nothing else ends the search after an error.
  }));
}

template <bool at_end>
Value remove_method(Run& run, const std::string& text, const Arguments& arguments) {
  const auto bound = arguments.bind(run, at_end ? "removesuffix" : "removeprefix", {"part"}, 1);
  const std::string_view part = text_of(run, bound[0]);
  if (!run.spend_text(text.size())) return {};
  if (at_end ? !text.ends_with(part) : !text.starts_with(part)) return Value::text(text);
  return Value::text(at_end ? text.substr(0, text.size() - part.size()) : text.substr(part.size()));
}

Value replace_method(Run& run, const std::string& text, const Arguments& arguments) {
  const auto bound = arguments.bind(run, "replace", {"old", "new", "count"}, 2);
  return replaced(run, text, text_of(run, bound[0]), text_of(run, bound[1]),
                  limit_of(run, bound[2]));
}

Value join_method(Run& run, const std::string& text, const Arguments& arguments) {
  const auto bound = arguments.bind(run, "join", {"items"}, 1);
  if (!run.ok()) return {};
  const auto items = elements(run, *bound[0]);
  Joiner joiner(run, text);
  for (std::size_t i = 0; items && i < items->size() && run.ok(); ++i) {
    joiner.add(text_of(run, (*items)[i]));
  }
  return std::move(joiner).take();
}

Value count_method(Run& run, const std::string& text, const Arguments& arguments) {
  const auto bound = arguments.bind(run, "count", {"part"}, 1);
  const std::string_view part = text_of(run, bound[0]);
  if (!run.spend_search(text.size(), part.size())) return {};
  return Value::integer(static_cast<std::int64_t>(count(text, part)));
}

/// The place in characters, or -1.
template <bool last>
Value find_method(Run& run, const std::string& text, const Arguments& arguments) {
  const auto bound = arguments.bind(run, last ? "rfind" : "find", {"part"}, 1);
  const std::string_view part = text_of(run, bound[0]);
  if (!run.spend_search(text.size(), part.size())) return {};
  const std::size_t at = last ? text.rfind(part) : text.find(part);
  if (at == std::string::npos) return Value::integer(-1);
  return Value::integer(static_cast<std::int64_t>(length(std::string_view(text).substr(0, at))));
}

template <std::string (*change)(std::string_view)>
Value change_method(Run& run, const std::string& text, const Arguments& arguments) {
  arguments.bind(run, "the method", {});
  return run.spend(text.size()) ? Value::text(change(text)) : Value();
}

template <bool (*test)(std::string_view)>
Value test_method(Run& run, const std::string& text, const Arguments& arguments) {
  arguments.bind(run, "the method", {});
  return run.spend(text.size()) ? Value::boolean(test(text)) : Value();
}

bool is_all_space(std::string_view text) {
  return !text.empty() && strip(text, Side::kLeft).empty();
}

const std::map<std::string, Method, std::less<>>& text_methods() {
  static const std::map<std::string, Method, std::less<>> all = {
      {"strip", strip_method<Side::kBoth>},
      {"lstrip", strip_method<Side::kLeft>},
      {"rstrip", strip_method<Side::kRight>},
      {"split", split_method<false>},
      {"rsplit", split_method<true>},
      {"splitlines", splitlines_method},
      {"startswith", starts_method<false>},
      {"endswith", starts_method<true>},
      {"removeprefix", remove_method<false>},
      {"removesuffix", remove_method<true>},
      {"replace", replace_method},
      {"join", join_method},
      {"count", count_method},
      {"find", find_method<false>},
      {"rfind", find_method<true>},
      {"upper", change_method<upper>},
      {"lower", change_method<lower>},
      {"title", change_method<title>},
      {"capitalize", change_method<capitalize>},
      {"isupper", test_method<is_upper>},
      {"islower", test_method<is_lower>},
      {"isspace", test_method<is_all_space>},
  };
  return all;
}

Value get_method(Run& run, const DictData& dict, const Arguments& arguments) {
  const auto bound = arguments.bind(run, "get", {"key", "default"}, 1);
  const Value* found = run.ok() ? find(run, dict, *bound[0]) : nullptr;
  return found != nullptr ? *found : bound[1].value_or(Value::none());
}

Value items_method(Run& run, const DictData& dict, const Arguments& arguments) {
  arguments.bind(run, "items", {});
  return items_of(run, dict);
}

template <bool of_keys>
Value column_method(Run& run, const DictData& dict, const Arguments& arguments) {
  arguments.bind(run, of_keys ? "keys" : "values", {});
  if (!run.spend(dict.items.size())) return {};
  std::vector<Value> found;
  for (const auto& [key, value] : dict.items) found.push_back(of_keys ? key : value);
  return Value::list(run, std::move(found));
}

using DictMethod = Value (*)(Run&, const DictData&, const Arguments&);

const std::map<std::string, DictMethod, std::less<>>& dict_methods() {
  static const std::map<std::string, DictMethod, std::less<>> all = {
      {"get", get_method},
      {"items", items_method},
      {"keys", column_method<true>},
      {"values", column_method<false>},
  };
  return all;
}

template <class Methods, class Object>
std::optional<Value> call_one_of(const Methods& methods, Run& run, const Object& object,
                                 const std::string& name, const Arguments& arguments) {
  const auto found = methods.find(name);
  if (found == methods.end()) return std::nullopt;
  return found->second(run, object, arguments);
}

}  // namespace

std::vector<std::string> method_names() {
  std::vector<std::string> names = {"cycle"};
  for (const auto& [name, ignored] : text_methods()) names.push_back(name);
  for (const auto& [name, ignored] : dict_methods()) names.push_back(name);
  return names;
}

std::optional<Value> call_method(Run& run, const Value& value, const std::string& name,
                                 const Arguments& arguments) {
  if (const std::string* text = value.text()) {
    return call_one_of(text_methods(), run, *text, name, arguments);
  }
  if (const DictData* dict = value.dict()) {
    return call_one_of(dict_methods(), run, *dict, name, arguments);
  }
  const LoopData* loop = value.loop();
  if (loop == nullptr || name != "cycle") return std::nullopt;
  if (arguments.plain.empty()) return run.fail("cycle needs the argument of what to give");
  return arguments.plain[loop->index % arguments.plain.size()];
}

Value replaced(Run& run, std::string_view text, std::string_view old, std::string_view with,
               std::int64_t limit) {
  if (!run.spend_search(text.size(), old.size())) return {};
  // Of all places, even if there is a limit.
  if (!run.spend_text(text.size() + (count(text, old) + 1) * with.size())) return {};
  return Value::text(replace(text, old, with, limit));
}

Value items_of(Run& run, const DictData& dict) {
  std::vector<Value> pairs;
  for (const auto& [key, value] : dict.items) {
    pairs.push_back(Value::list(run, {key, value}, /*tuple=*/true));
    if (!run.spend(1)) return {};
  }
  return Value::list(run, std::move(pairs));
}

void Joiner::add(std::string_view text) {
  const std::string_view before = std::exchange(first_, false) ? "" : separator_;
  if (!run_.spend_text(before.size() + text.size())) return;
  out_ += before;
  out_ += text;
}

void Joiner::add(const Value& item) {
  if (const std::string* text = item.text()) return add(*text);
  add(to_text(run_, item));
}

}  // namespace tinkex::jinja
