// The tests, `value is name`.

#include <map>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/jinja/filters.h"
#include "tinkex/tokenizers/jinja/operators.h"
#include "tinkex/tokenizers/jinja/text.h"

namespace tinkex::jinja {
namespace {

using Plain = bool (*)(const Value&);

bool is_sequence(const Value& value) {
  return value.is_undefined() || value.text() != nullptr || value.list() != nullptr ||
         value.dict() != nullptr;
}

const std::map<std::string, Plain, std::less<>>& plain_tests() {
  static const std::map<std::string, Plain, std::less<>> all = {
      {"boolean", [](const Value& v) { return v.boolean() != nullptr; }},
      {"callable", [](const Value& v) { return v.function() != nullptr; }},
      {"defined", [](const Value& v) { return !v.is_undefined(); }},
      {"false", [](const Value& v) { return v.boolean() != nullptr && !*v.boolean(); }},
      {"float", [](const Value& v) { return v.real() != nullptr; }},
      {"integer", [](const Value& v) { return v.is_integer(); }},
      {"iterable", is_sequence},
      {"mapping", [](const Value& v) { return v.dict() != nullptr; }},
      {"none", [](const Value& v) { return v.is_none(); }},
      {"number", [](const Value& v) { return v.number().has_value(); }},
      {"sequence", is_sequence},
      {"string", [](const Value& v) { return v.text() != nullptr; }},
      {"true", [](const Value& v) { return v.boolean() != nullptr && *v.boolean(); }},
      {"undefined", [](const Value& v) { return v.is_undefined(); }},
  };
  return all;
}

const std::map<std::string, Op, std::less<>>& comparisons() {
  static const std::map<std::string, Op, std::less<>> all = {
      {"==", Op::kEqual},
      {"eq", Op::kEqual},
      {"equalto", Op::kEqual},
      {"!=", Op::kUnequal},
      {"ne", Op::kUnequal},
      {"<", Op::kLess},
      {"lt", Op::kLess},
      {"lessthan", Op::kLess},
      {"<=", Op::kLessEqual},
      {"le", Op::kLessEqual},
      {">", Op::kGreater},
      {"gt", Op::kGreater},
      {"greaterthan", Op::kGreater},
      {">=", Op::kGreaterEqual},
      {"ge", Op::kGreaterEqual},
      {"in", Op::kIn},
  };
  return all;
}

/// The remainder of a division by a number that is not 0.
std::int64_t remainder(Run& run, const Value& value, std::int64_t divisor) {
  return arithmetic(run, Op::kModulo, value, Value::integer(divisor)).whole().value_or(-1);
}

using Test = bool (*)(Run&, const Value&, const Arguments&);

template <bool odd>
bool parity_test(Run& run, const Value& value, const Arguments& arguments) {
  arguments.bind(run, odd ? "odd" : "even", {});
  return remainder(run, value, 2) == (odd ? 1 : 0);
}

bool divisible_test(Run& run, const Value& value, const Arguments& arguments) {
  const auto bound = arguments.bind(run, "divisibleby", {"num"}, 1);
  return remainder(run, value, integer_of(run, bound[0], 1)) == 0;
}

template <bool (*is)(std::string_view)>
bool case_test(Run& run, const Value& value, const Arguments& arguments) {
  arguments.bind(run, "the test", {});
  const std::string text = to_text(run, value);
  return run.spend(text.size()) && is(text);
}

const std::map<std::string, Test, std::less<>>& other_tests() {
  static const std::map<std::string, Test, std::less<>> all = {
      {"divisibleby", divisible_test}, {"even", parity_test<false>},
      {"lower", case_test<is_lower>},  {"odd", parity_test<true>},
      {"upper", case_test<is_upper>},
  };
  return all;
}

}  // namespace

std::vector<std::string> test_names() {
  std::vector<std::string> names;
  for (const auto& [name, ignored] : plain_tests()) names.push_back(name);
  for (const auto& [name, ignored] : comparisons()) names.push_back(name);
  for (const auto& [name, ignored] : other_tests()) names.push_back(name);
  return names;
}

bool apply_test(Run& run, const std::string& name, const Value& value, const Arguments& arguments) {
  if (const auto found = plain_tests().find(name); found != plain_tests().end()) {
    arguments.bind(run, name, {});
    return found->second(value);
  }
  if (const auto found = comparisons().find(name); found != comparisons().end()) {
    const auto bound = arguments.bind(run, name, {"other"}, 1);
    return run.ok() && compare(run, found->second, value, *bound[0]);
  }
  if (const auto found = other_tests().find(name); found != other_tests().end()) {
    return found->second(run, value, arguments);
  }
  run.fail("the test " + internal::quoted(name, 40) + " is not supported");
  return false;
}

}  // namespace tinkex::jinja
