#include "tinkex/tokenizers/jinja/evaluator.h"

#include <algorithm>
#include <cstddef>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/jinja/filters.h"
#include "tinkex/tokenizers/jinja/methods.h"
#include "tinkex/tokenizers/jinja/operators.h"

namespace tinkex::jinja {
namespace {

using Kind = Expr::Kind;

}  // namespace

Value Scope::get(std::string_view name) const {
  for (std::size_t i = frames_.size(); i-- > 0;) {
    const auto found = frames_[i].find(name);
    if (found != frames_[i].end()) return found->second;
  }
  return Value::undefined(internal::quoted(name, 40) + " is undefined");
}

Value Evaluator::value_of(const Expr& expr) {
  if (!run_.spend(1)) return {};
  run_.enter(expr.line);
  Value value = compute(expr);
  return run_.ok() ? value : Value();
}

Value Evaluator::compute(const Expr& expr) {
  const auto part = [&](std::size_t i) { return value_of(*expr.parts[i]); };
  switch (expr.kind) {
    case Kind::kConstant: return expr.value;
    case Kind::kName: return scope_.get(expr.name);
    case Kind::kList: return Value::list(run_, parts_of(expr));
    case Kind::kTuple: return Value::list(run_, parts_of(expr), /*tuple=*/true);
    case Kind::kDict: return dict_of(expr);
    case Kind::kAttribute: return attribute_of(run_, part(0), expr.name);
    case Kind::kItem: {
      const Value value = part(0);
      return item_of(run_, value, part(1));
    }
    case Kind::kSlice: return slice(expr);
    case Kind::kCall: return call(expr);
    case Kind::kFilter: {
      const Value value = part(0);
      return apply_filter(run_, expr.name, value, arguments_of(expr));
    }
    case Kind::kTest: {
      const Value value = part(0);
      return Value::boolean(apply_test(run_, expr.name, value, arguments_of(expr)));
    }
    case Kind::kNot: return Value::boolean(!part(0).is_true());
    case Kind::kNegative: return negative(run_, part(0));
    case Kind::kPositive: return arithmetic(run_, Op::kAdd, part(0), Value::integer(0));
    case Kind::kArithmetic: {
      const Value left = part(0);
      return arithmetic(run_, expr.ops[0], left, part(1));
    }
    case Kind::kConcatenate: return concatenation(expr);
    case Kind::kAnd: {
      Value left = part(0);
      return left.is_true() ? part(1) : left;
    }
    case Kind::kOr: {
      Value left = part(0);
      return left.is_true() ? left : part(1);
    }
    case Kind::kCompare: return comparison(expr);
    case Kind::kConditional: return conditional(expr);
  }
  return {};
}

std::vector<Value> Evaluator::parts_of(const Expr& expr) {
  std::vector<Value> values;
  values.reserve(expr.parts.size());
  for (const ExprPtr& part : expr.parts) values.push_back(value_of(*part));
  return values;
}

Value Evaluator::dict_of(const Expr& expr) {
  std::vector<std::pair<Value, Value>> items;
  for (std::size_t i = 0; i + 1 < expr.parts.size(); i += 2) {
    Value key = value_of(*expr.parts[i]);
    items.emplace_back(std::move(key), value_of(*expr.parts[i + 1]));
  }
  return run_.ok() ? Value::dict(run_, std::move(items)) : Value();
}

Value Evaluator::slice(const Expr& expr) {
  const auto part = [&](std::size_t i) {
    return expr.parts[i] ? value_of(*expr.parts[i]) : Value::none();
  };
  const Value value = part(0);
  const Value start = part(1);
  const Value stop = part(2);
  return slice_of(run_, value, start, stop, part(3));
}

Value Evaluator::concatenation(const Expr& expr) {
  Joiner joiner(run_, "");
  for (const ExprPtr& part : expr.parts) joiner.add(value_of(*part));
  return std::move(joiner).take();
}

Value Evaluator::comparison(const Expr& expr) {
  Value left = value_of(*expr.parts[0]);
  for (std::size_t i = 0; i < expr.ops.size(); ++i) {
    Value right = value_of(*expr.parts[i + 1]);
    if (!run_.ok() || !compare(run_, expr.ops[i], left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Evaluator::conditional(const Expr& expr) {
  if (value_of(*expr.parts[1]).is_true()) return value_of(*expr.parts[0]);
  return expr.parts[2] ? value_of(*expr.parts[2])
                       : Value::undefined("the condition does not hold, and there is no else");
}

Arguments Evaluator::arguments_of(const Expr& expr) {
  Arguments arguments;
  for (std::size_t i = 1; i < expr.parts.size(); ++i) {
    arguments.plain.push_back(value_of(*expr.parts[i]));
  }
  for (const auto& [name, part] : expr.named) {
    arguments.named.emplace_back(name, value_of(*part));
  }
  return arguments;
}

Value Evaluator::call(const Expr& expr) {
  const Expr& callee = *expr.parts[0];
  Value function;
  if (callee.kind == Kind::kAttribute) {
    const Value object = value_of(*callee.parts[0]);
    const Arguments arguments = arguments_of(expr);
    run_.enter(expr.line);
    if (!run_.ok()) return {};
    if (auto result = call_method(run_, object, callee.name, arguments)) return *std::move(result);
    function = attribute_of(run_, object, callee.name);
    if (function.function() == nullptr) {
      return run_.fail("a " + object.type_name() + " has no method " +
                       internal::quoted(callee.name, 40) + ", or not here");
    }
    return call_function(*function.function(), arguments);
  }
  function = value_of(callee);
  const Arguments arguments = arguments_of(expr);
  run_.enter(expr.line);
  if (!run_.ok()) return {};
  if (function.function() != nullptr) return call_function(*function.function(), arguments);
  return run_.fail(function.is_undefined() ? function.why_undefined()
                                           : "a " + function.type_name() + " cannot be called");
}

}  // namespace tinkex::jinja
