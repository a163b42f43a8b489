#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/tokenizers/jinja/arguments.h"
#include "tinkex/tokenizers/jinja/ast.h"
#include "tinkex/tokenizers/jinja/value.h"

namespace tinkex::jinja {

/// Variables by name. Inside of a loop new ones hide those of outside, until its next turn.
class Scope {
 public:
  Scope() : frames_(1) {}
  /// Undefined if there is none.
  Value get(std::string_view name) const;
  void set(const std::string& name, Value value) {
    frames_.back().insert_or_assign(name, std::move(value));
  }
  void push() { frames_.emplace_back(); }
  void pop() { frames_.pop_back(); }

 private:
  std::vector<std::map<std::string, Value, std::less<>>> frames_;
};

/// Computes expressions. After an error of the run every value is undefined.
class Evaluator {
 public:
  /// `now` is what strftime_now shows.
  Evaluator(Run& run, Scope& scope, std::chrono::local_seconds now)
      : run_(run), scope_(scope), now_(now) {}

  Value value_of(const Expr& expr);

 private:
  Value compute(const Expr& expr);
  std::vector<Value> parts_of(const Expr& expr);
  Value dict_of(const Expr& expr);
  Value slice(const Expr& expr);
  Value concatenation(const Expr& expr);
  Value comparison(const Expr& expr);
  Value conditional(const Expr& expr);
  Arguments arguments_of(const Expr& expr);
  Value call(const Expr& expr);
  Value call_function(Function function, const Arguments& arguments);
  Value strftime_now(const Arguments& arguments);

  Run& run_;
  Scope& scope_;
  const std::chrono::local_seconds now_;
};

/// Puts out a template: appends to `out`.
void render(Run& run, const Body& body, Scope& scope, std::chrono::local_seconds now,
            std::string& out);

}  // namespace tinkex::jinja
