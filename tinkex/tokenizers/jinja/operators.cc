#include "tinkex/tokenizers/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/jinja/text.h"

namespace tinkex::jinja {
namespace {

using Integer = std::int64_t;

Value too_large(Run& run) { return run.fail("a number does not fit into 64 bits"); }

Value integer_power(Run& run, Integer base, Integer exponent) {
  Integer result = 1;
  for (; exponent > 0; exponent /= 2) {
    if (exponent % 2 == 1 && __builtin_mul_overflow(result, base, &result)) return too_large(run);
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) return too_large(run);
  }
  return Value::integer(result);
}

/// Rounded towards negative infinity, as in Python.
Value floor_divide(Run& run, Integer a, Integer b, bool remainder) {
  if (b == 0) return run.fail("division by zero");
  if (b == -1) {
    Integer quotient = 0;
    if (remainder) return Value::integer(0);
    return __builtin_sub_overflow(Integer{0}, a, &quotient) ? too_large(run)
                                                            : Value::integer(quotient);
  }
  const bool inexact = a % b != 0 && (a % b < 0) != (b < 0);
  return Value::integer(remainder ? a % b + (inexact ? b : 0) : a / b - (inexact ? 1 : 0));
}

Value of_integers(Run& run, Op op, Integer a, Integer b) {
  Integer result = 0;
  bool overflow = false;
  switch (op) {
    case Op::kAdd: overflow = __builtin_add_overflow(a, b, &result); break;
    case Op::kSubtract: overflow = __builtin_sub_overflow(a, b, &result); break;
    case Op::kMultiply: overflow = __builtin_mul_overflow(a, b, &result); break;
    case Op::kFloorDivide: return floor_divide(run, a, b, false);
    case Op::kModulo: return floor_divide(run, a, b, true);
    case Op::kPower:
      if (b >= 0) return integer_power(run, a, b);
      if (a == 0) return run.fail("division by zero");
      return Value::real(std::pow(static_cast<double>(a), static_cast<double>(b)));
    default:
      if (b == 0) return run.fail("division by zero");
      return Value::real(static_cast<double>(a) / static_cast<double>(b));
  }
  return overflow ? too_large(run) : Value::integer(result);
}

Value of_reals(Run& run, Op op, double a, double b) {
  const bool divides = op == Op::kDivide || op == Op::kFloorDivide || op == Op::kModulo;
  if (divides && b == 0) return run.fail("division by zero");
  switch (op) {
    case Op::kAdd: return Value::real(a + b);
    case Op::kSubtract: return Value::real(a - b);
    case Op::kMultiply: return Value::real(a * b);
    case Op::kDivide: return Value::real(a / b);
    case Op::kFloorDivide: return Value::real(std::floor(a / b));
    case Op::kModulo: {
      const double rest = std::fmod(a, b);
      return Value::real(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
    }
    default: return Value::real(std::pow(a, b));
  }
}

Value repeated(Run& run, const Value& value, Integer times) {
  const auto count = static_cast<std::size_t>(std::max<Integer>(times, 0));
  const std::string* text = value.text();
  const std::size_t size = text != nullptr ? text->size() : value.list()->items.size();
  std::size_t total = 0;
  if (__builtin_mul_overflow(count, size, &total)) total = std::numeric_limits<std::size_t>::max();
  if (text != nullptr) {
    if (!run.spend_text(total)) return {};
    std::string out;
    out.reserve(total);
    for (std::size_t i = 0; i < count && size > 0; ++i) out += *text;
    return Value::text(std::move(out));
  }
  if (!run.spend(total)) return {};
  std::vector<Value> items;
  items.reserve(total);
  for (std::size_t i = 0; i < count && size > 0; ++i) {
    items.insert(items.end(), value.list()->items.begin(), value.list()->items.end());
  }
  return Value::list(run, std::move(items), value.list()->tuple);
}

Value added(Run& run, const Value& a, const Value& b) {
  if (a.text() != nullptr) {
    if (!run.spend_text(a.text()->size() + b.text()->size())) return {};
    return Value::text(*a.text() + *b.text());
  }
  if (!run.spend(a.list()->items.size() + b.list()->items.size())) return {};
  std::vector<Value> items = a.list()->items;
  items.insert(items.end(), b.list()->items.begin(), b.list()->items.end());
  return Value::list(run, std::move(items), a.list()->tuple);
}

bool is_sequence(const Value& value) { return value.text() != nullptr || value.list() != nullptr; }

bool are_alike(const Value& a, const Value& b) {
  if (a.text() != nullptr || b.text() != nullptr) return a.text() != nullptr && b.text() != nullptr;
  return a.list() != nullptr && b.list() != nullptr && a.list()->tuple == b.list()->tuple;
}

/// Negative, 0 or positive; nullopt if the two have no order.
std::optional<int> order(Run& run, const Value& a, const Value& b) {
  const auto sign = [](auto x, auto y) { return x < y ? -1 : x > y ? 1 : 0; };
  if (a.whole() && b.whole()) return sign(*a.whole(), *b.whole());
  if (a.number() && b.number()) return sign(*a.number(), *b.number());
  if (!are_alike(a, b)) return std::nullopt;
  if (a.text() != nullptr) {
    run.spend_text(std::min(a.text()->size(), b.text()->size()));
    return sign(a.text()->compare(*b.text()), 0);  // Bytes of UTF-8 are in the order of characters.
  }
  const auto& left = a.list()->items;
  const auto& right = b.list()->items;
  for (std::size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
    if (!equal(run, left[i], right[i])) return run.ok() ? order(run, left[i], right[i]) : 0;
  }
  return sign(left.size(), right.size());
}

Value loop_attribute(Run& run, const LoopData& loop, const std::string& name) {
  const std::vector<Value>& items = *loop.items;
  const auto integer = [](std::size_t value) {
    return Value::integer(static_cast<std::int64_t>(value));
  };
  if (name == "index") return integer(loop.index + 1);
  if (name == "index0") return integer(loop.index);
  if (name == "first") return Value::boolean(loop.index == 0);
  if (name == "last") return Value::boolean(loop.index + 1 == items.size());
  if (name == "length") return integer(items.size());
  if (name == "revindex") return integer(items.size() - loop.index);
  if (name == "revindex0") return integer(items.size() - loop.index - 1);
  if (name == "depth") return integer(1);
  if (name == "depth0") return integer(0);
  if (name == "previtem") {
    return loop.index > 0 ? items[loop.index - 1] : Value::undefined("there is no previous item");
  }
  if (name == "nextitem") {
    return loop.index + 1 < items.size() ? items[loop.index + 1]
                                         : Value::undefined("there is no next item");
  }
  return run.fail("a loop has no " + internal::quoted(name, 40));
}

/// Python's indices of a slice, in their order.
std::vector<Integer> indices(Run& run, Integer size, const std::optional<Integer>& start,
                             const std::optional<Integer>& stop, Integer step) {
  const auto bound = [&](const std::optional<Integer>& given, Integer otherwise) {
    if (!given) return otherwise;
    const Integer value = *given < 0 ? *given + size : *given;
    return std::clamp(value, step > 0 ? Integer{0} : Integer{-1}, step > 0 ? size : size - 1);
  };
  const Integer first = bound(start, step > 0 ? 0 : size - 1);
  const Integer last = bound(stop, step > 0 ? size : -1);
  std::vector<Integer> found;
  for (Integer at = first; step > 0 ? at < last : at > last;) {
    if (!run.spend(1)) break;
    found.push_back(at);
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return found;
}

/// The number of a bound; nullopt where there is none.
std::optional<Integer> bound_of(Run& run, const Value& value) {
  if (value.is_undefined() || value.is_none()) return std::nullopt;
  if (!value.whole()) run.fail("a bound of a slice is no integer but " + value.type_name());
  return value.whole();
}

const Value* element(const ListData& list, Integer index) {
  const auto size = static_cast<Integer>(list.items.size());
  if (index < 0) index += size;
  return index >= 0 && index < size ? &list.items[static_cast<std::size_t>(index)] : nullptr;
}

}  // namespace

Value arithmetic(Run& run, Op op, const Value& a, const Value& b) {
  for (const Value* each : {&a, &b}) {
    if (each->is_undefined()) return run.fail(each->why_undefined());
  }
  if (a.whole() && b.whole()) return of_integers(run, op, *a.whole(), *b.whole());
  if (a.number() && b.number()) return of_reals(run, op, *a.number(), *b.number());
  if (op == Op::kAdd && is_sequence(a) && are_alike(a, b)) return added(run, a, b);
  if (op == Op::kMultiply && is_sequence(a) && b.whole()) return repeated(run, a, *b.whole());
  if (op == Op::kMultiply && is_sequence(b) && a.whole()) return repeated(run, b, *a.whole());
  return run.fail("there is no such arithmetic with a " + a.type_name() + " and a " +
                  b.type_name());
}

Value negative(Run& run, const Value& a) {
  if (a.is_undefined()) return run.fail(a.why_undefined());
  if (a.whole()) return of_integers(run, Op::kSubtract, 0, *a.whole());
  if (a.number()) return Value::real(-*a.number());
  return run.fail("a " + a.type_name() + " has no sign");
}

bool compare(Run& run, Op op, const Value& a, const Value& b) {
  if (op == Op::kEqual) return equal(run, a, b);
  if (op == Op::kUnequal) return !equal(run, a, b);
  if (op == Op::kIn || op == Op::kNotIn) return contains(run, b, a) == (op == Op::kIn);
  for (const Value* each : {&a, &b}) {
    if (each->is_undefined()) run.fail(each->why_undefined());
  }
  const std::optional<int> found = order(run, a, b);
  if (!found) run.fail("a " + a.type_name() + " and a " + b.type_name() + " have no order");
  const bool nan = (a.real() != nullptr && std::isnan(*a.real())) ||
                   (b.real() != nullptr && std::isnan(*b.real()));
  if (!run.ok() || nan) return false;
  if (op == Op::kLess) return *found < 0;
  if (op == Op::kLessEqual) return *found <= 0;
  return op == Op::kGreater ? *found > 0 : *found >= 0;
}

bool contains(Run& run, const Value& container, const Value& item) {
  if (container.is_undefined()) return false;
  if (const std::string* text = container.text()) {
    const std::string* part = item.text();
    if (part == nullptr) run.fail("a " + item.type_name() + " cannot be in a str");
    return part != nullptr && run.spend_search(text->size(), part->size()) &&
           text->find(*part) != std::string::npos;
  }
  if (const DictData* dict = container.dict()) return find(run, *dict, item) != nullptr;
  if (const ListData* list = container.list()) {
    return std::any_of(list->items.begin(), list->items.end(),
                       [&](const Value& each) { return equal(run, each, item); });
  }
  run.fail("nothing can be in a " + container.type_name());
  return false;
}

Value item_of(Run& run, const Value& value, const Value& key) {
  if (value.is_undefined()) return run.fail(value.why_undefined());
  if (const DictData* dict = value.dict()) {
    const Value* found = find(run, *dict, key);
    if (found != nullptr) return *found;
  } else if (key.text() != nullptr) {
    return attribute_of(run, value, *key.text());
  } else if (const auto index = key.whole()) {
    const Value* found = value.list() != nullptr ? element(*value.list(), *index) : nullptr;
    if (found != nullptr) return *found;
    const std::string* text = value.text();
    if (text != nullptr && run.spend_text(text->size())) {
      const auto size = static_cast<Integer>(length(*text));
      const Integer at = *index < 0 ? *index + size : *index;
      if (at >= 0 && at < size) {
        return slice_of(run, value, Value::integer(at), Value::integer(at + 1), {});
      }
    }
  }
  return Value::undefined("the " + value.type_name() + " has no item " +
                          (key.text() != nullptr ? internal::quoted(*key.text(), 40)
                           : key.whole()         ? std::to_string(*key.whole())
                                                 : "of that key"));
}

Value attribute_of(Run& run, const Value& value, const std::string& name) {
  if (value.is_undefined()) return run.fail(value.why_undefined());
  if (const LoopData* loop = value.loop()) return loop_attribute(run, *loop, name);
  if (const NamespaceData* space = value.space()) {
    return run.spend_names(space->items.size(), name) ? space->get(name) : Value();
  }
  if (const DictData* dict = value.dict()) {
    for (const char* method : {"items", "keys", "values", "get"}) {
      if (name == method) return run.fail("the method " + name + " is not called");
    }
    for (const auto& [key, found] : dict->items) {
      if (!run.spend(1)) return {};
      if (key.text() != nullptr && *key.text() == name) return found;
    }
  }
  return Value::undefined("the " + value.type_name() + " has no " + internal::quoted(name, 40));
}

Value slice_of(Run& run, const Value& value, const Value& start, const Value& stop,
               const Value& step) {
  if (value.is_undefined()) return run.fail(value.why_undefined());
  if (!is_sequence(value)) return run.fail("a " + value.type_name() + " has no slices");
  const Integer stride = bound_of(run, step).value_or(1);
  if (stride == 0) return run.fail("the step of a slice is 0");
  const auto first = bound_of(run, start);
  const auto last = bound_of(run, stop);
  if (!run.ok()) return {};
  const auto chosen = [&](std::size_t size) {
    return indices(run, static_cast<Integer>(size), first, last, stride);
  };
  if (const std::string* text = value.text()) {
    if (!run.spend(text->size())) return {};
    const std::vector<std::string_view> all = characters(*text);
    std::string out;
    for (const Integer at : chosen(all.size())) out += all[static_cast<std::size_t>(at)];
    return Value::text(std::move(out));
  }
  std::vector<Value> items;
  const ListData& list = *value.list();
  for (const Integer at : chosen(list.items.size())) {
    items.push_back(list.items[static_cast<std::size_t>(at)]);
  }
  return Value::list(run, std::move(items), list.tuple);
}

}  // namespace tinkex::jinja
