#include "tinkex/tokenizers/jinja/expression_parser.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>
#include <optional>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/jinja/text.h"

namespace tinkex::jinja {
namespace {

using Kind = Expr::Kind;
using Type = Token::Type;

/// Evaluation recurses so deep. Long sums are deep, too.
constexpr int kDeepestExpression = 100;
constexpr std::size_t kMostArguments = 32;

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenReader& tokens) : tokens_(tokens) {}

  ExprPtr conditional() {
    const TokenReader::Level level(tokens_);
    ExprPtr value = disjunction();
    while (tokens_.take_name("if")) {
      ExprPtr condition = disjunction();
      ExprPtr otherwise = tokens_.take_name("else") ? conditional() : nullptr;
      value = make(Kind::kConditional, std::move(value), std::move(condition));
      add(*value, std::move(otherwise));
    }
    return value;
  }

  ExprPtr disjunction() {
    ExprPtr left = conjunction();
    while (tokens_.take_name("or")) left = make(Kind::kOr, std::move(left), conjunction());
    return left;
  }

  ExprPtr list(bool conditional_allowed) {
    const auto one = [&] { return conditional_allowed ? conditional() : disjunction(); };
    ExprPtr first = one();
    if (!tokens_.sees_operator(",")) return first;
    ExprPtr tuple = make(Kind::kTuple, std::move(first));
    while (tokens_.take_operator(",") && starts_expression()) add(*tuple, one());
    return tuple;
  }

 private:
  ExprPtr make(Kind kind) {
    auto made = std::make_unique<Expr>();
    made->kind = kind;
    made->line = tokens_.line();
    return made;
  }
  template <class... Parts>
  ExprPtr make(Kind kind, ExprPtr first, Parts... others) {
    ExprPtr made = make(kind);
    made->line = first->line;
    add(*made, std::move(first));
    (add(*made, std::move(others)), ...);
    return made;
  }
  void add(Expr& parent, ExprPtr part) {
    if (part) parent.depth = std::max(parent.depth, part->depth + 1);
    parent.parts.push_back(std::move(part));
    if (parent.depth > kDeepestExpression) tokens_.fail("an expression is too long or too deep");
  }
  ExprPtr constant(Value value) {
    ExprPtr made = make(Kind::kConstant);
    made->value = std::move(value);
    return made;
  }

  bool starts_expression() const {
    return !(tokens_.sees(Type::kBlockEnd) || tokens_.sees(Type::kOutputEnd) ||
             tokens_.sees(Type::kEnd) || tokens_.sees_operator(")") || tokens_.sees_operator("=") ||
             tokens_.sees_name("in"));
  }

  ExprPtr conjunction() {
    ExprPtr left = negation();
    while (tokens_.take_name("and")) left = make(Kind::kAnd, std::move(left), negation());
    return left;
  }

  ExprPtr negation() {
    const TokenReader::Level level(tokens_);
    if (tokens_.take_name("not")) return make(Kind::kNot, negation());
    return comparison();
  }

  std::optional<Op> comparison_operator() {
    constexpr std::array<std::pair<const char*, Op>, 6> kOperators = {{{"==", Op::kEqual},
                                                                       {"!=", Op::kUnequal},
                                                                       {"<=", Op::kLessEqual},
                                                                       {">=", Op::kGreaterEqual},
                                                                       {"<", Op::kLess},
                                                                       {">", Op::kGreater}}};
    for (const auto& [text, op] : kOperators) {
      if (tokens_.take_operator(text)) return op;
    }
    if (tokens_.take_name("in")) return Op::kIn;
    if (!tokens_.sees_name("not") || tokens_.peek(1).type != Type::kName ||
        tokens_.peek(1).text != "in") {
      return std::nullopt;
    }
    tokens_.next();
    tokens_.next();
    return Op::kNotIn;
  }

  ExprPtr comparison() {
    ExprPtr left = sum();
    std::optional<Op> op = comparison_operator();
    if (!op) return left;
    ExprPtr chain = make(Kind::kCompare, std::move(left));
    for (; op; op = comparison_operator()) {
      chain->ops.push_back(*op);
      add(*chain, sum());
    }
    return chain;
  }

  /// `operand ops operand ops ...`, from the left.
  ExprPtr arithmetic(std::initializer_list<std::pair<const char*, Op>> operators,
                     ExprPtr (ExpressionParser::*operand)()) {
    ExprPtr left = (this->*operand)();
    for (bool found = true; found;) {
      found = false;
      for (const auto& [text, op] : operators) {
        if (!tokens_.take_operator(text)) continue;
        left = make(Kind::kArithmetic, std::move(left), (this->*operand)());
        left->ops = {op};
        found = true;
        break;
      }
    }
    return left;
  }

  ExprPtr sum() {
    return arithmetic({{"+", Op::kAdd}, {"-", Op::kSubtract}}, &ExpressionParser::concatenation);
  }

  ExprPtr concatenation() {
    ExprPtr left = product();
    if (!tokens_.sees_operator("~")) return left;
    ExprPtr all = make(Kind::kConcatenate, std::move(left));
    while (tokens_.take_operator("~")) add(*all, product());
    return all;
  }

  ExprPtr product() {
    return arithmetic(
        {{"*", Op::kMultiply}, {"//", Op::kFloorDivide}, {"/", Op::kDivide}, {"%", Op::kModulo}},
        &ExpressionParser::power);
  }

  ExprPtr power() { return arithmetic({{"**", Op::kPower}}, &ExpressionParser::filtered_sign); }

  // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDeleteLeaks): a unique_ptr has it.
  ExprPtr filtered_sign() { return sign(true); }

  /// The sign binds closer than a filter, but not closer than a point or a bracket.
  ExprPtr sign(bool with_filters) {
    const TokenReader::Level level(tokens_);
    ExprPtr value;
    if (tokens_.take_operator("-")) {
      value = make(Kind::kNegative, sign(false));
    } else if (tokens_.take_operator("+")) {
      value = make(Kind::kPositive, sign(false));
    } else {
      value = primary();
    }
    value = postfix(std::move(value));
    return with_filters ? filters(std::move(value)) : std::move(value);
  }

  ExprPtr primary() {
    if (tokens_.sees(Type::kName)) return name();
    if (tokens_.sees(Type::kString)) {
      std::string text = tokens_.next().text;
      while (tokens_.sees(Type::kString)) text += tokens_.next().text;
      return constant(Value::text(std::move(text)));
    }
    if (tokens_.sees(Type::kInteger)) return constant(integer(tokens_.next().text));
    if (tokens_.sees(Type::kFloat)) {
      return constant(Value::real(real_of(tokens_.next().text).value_or(0)));
    }
    if (tokens_.take_operator("(")) return parenthesis();
    if (tokens_.take_operator("[")) return sequence();
    if (tokens_.take_operator("{")) return dict();
    tokens_.fail_expecting("a value");
    return constant({});
  }

  ExprPtr name() {
    ExprPtr made = make(Kind::kName);
    made->name = tokens_.next().text;
    const std::string& text = made->name;
    if (text == "true" || text == "True") return constant(Value::boolean(true));
    if (text == "false" || text == "False") return constant(Value::boolean(false));
    if (text == "none" || text == "None") return constant(Value::none());
    return made;
  }

  Value integer(const std::string& text) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
      tokens_.fail("the number " + internal::quoted(text, 40) + " does not fit into 64 bits");
    }
    return Value::integer(value);
  }

  ExprPtr parenthesis() {
    ExprPtr inside = tokens_.sees_operator(")") ? make(Kind::kTuple) : list(true);
    tokens_.expect_operator(")");
    return inside;
  }

  ExprPtr sequence() {
    ExprPtr made = make(Kind::kList);
    while (tokens_.ok() && !tokens_.sees_operator("]")) {
      add(*made, conditional());
      if (!tokens_.take_operator(",")) break;
    }
    tokens_.expect_operator("]");
    return made;
  }

  ExprPtr dict() {
    ExprPtr made = make(Kind::kDict);
    while (tokens_.ok() && !tokens_.sees_operator("}")) {
      add(*made, conditional());
      tokens_.expect_operator(":");
      add(*made, conditional());
      if (!tokens_.take_operator(",")) break;
    }
    tokens_.expect_operator("}");
    return made;
  }

  ExprPtr postfix(ExprPtr value) {
    for (;;) {
      if (tokens_.take_operator(".")) {
        value = attribute(std::move(value));
      } else if (tokens_.take_operator("[")) {
        value = subscript(std::move(value));
      } else if (tokens_.take_operator("(")) {
        value = make(Kind::kCall, std::move(value));
        arguments(*value);
      } else {
        return value;
      }
    }
  }

  ExprPtr attribute(ExprPtr value) {
    if (tokens_.sees(Type::kInteger)) {
      return make(Kind::kItem, std::move(value), constant(integer(tokens_.next().text)));
    }
    ExprPtr made = make(Kind::kAttribute, std::move(value));
    made->name = tokens_.name("a name after the point");
    return made;
  }

  ExprPtr subscript(ExprPtr value) {
    ExprPtr first = tokens_.sees_operator(":") ? nullptr : conditional();
    if (tokens_.take_operator("]")) return make(Kind::kItem, std::move(value), std::move(first));
    ExprPtr made = make(Kind::kSlice, std::move(value), std::move(first));
    while (made->parts.size() < 4 && tokens_.take_operator(":")) {
      const bool given = !tokens_.sees_operator(":") && !tokens_.sees_operator("]");
      add(*made, given ? conditional() : nullptr);
    }
    made->parts.resize(4);
    tokens_.expect_operator("]");
    return made;
  }

  void arguments(Expr& call) {
    while (tokens_.ok() && !tokens_.sees_operator(")")) {
      const Token& after = tokens_.peek(1);
      if (tokens_.sees(Type::kName) && after.type == Type::kOperator && after.text == "=") {
        std::string name = tokens_.next().text;
        tokens_.next();
        ExprPtr value = conditional();
        call.depth = std::max(call.depth, value->depth + 1);
        call.named.emplace_back(std::move(name), std::move(value));
      } else if (!call.named.empty()) {
        tokens_.fail("a plain argument comes after one with a name");
      } else {
        add(call, conditional());
      }
      if (call.parts.size() + call.named.size() > kMostArguments) {
        tokens_.fail("a call has more than " + std::to_string(kMostArguments) + " arguments");
      }
      if (!tokens_.take_operator(",")) break;
    }
    if (call.depth > kDeepestExpression) tokens_.fail("an expression is too long or too deep");
    tokens_.expect_operator(")");
  }

  ExprPtr filters(ExprPtr value) {
    for (;;) {
      if (tokens_.take_operator("|")) {
        value = make(Kind::kFilter, std::move(value));
        value->name = tokens_.name("a filter's name");
        if (tokens_.take_operator("(")) arguments(*value);
      } else if (tokens_.take_name("is")) {
        value = test(std::move(value));
      } else if (tokens_.take_operator("(")) {
        value = make(Kind::kCall, std::move(value));
        arguments(*value);
      } else {
        return value;
      }
    }
  }

  ExprPtr test(ExprPtr value) {
    const bool negated = tokens_.take_name("not");
    ExprPtr made = make(Kind::kTest, std::move(value));
    made->name = tokens_.name("a test's name");
    if (tokens_.take_operator("(")) {
      arguments(*made);
    } else if (starts_argument()) {
      add(*made, postfix(primary()));
    }
    return negated ? make(Kind::kNot, std::move(made)) : std::move(made);
  }

  /// Whether a test has an argument without parentheses.
  bool starts_argument() const {
    if (tokens_.sees(Type::kName)) {
      for (const char* word : {"else", "or", "and", "is", "in", "if", "not"}) {
        if (tokens_.sees_name(word)) return false;
      }
      return true;
    }
    return tokens_.sees(Type::kString) || tokens_.sees(Type::kInteger) ||
           tokens_.sees(Type::kFloat) || tokens_.sees_operator("[") || tokens_.sees_operator("{");
  }

  TokenReader& tokens_;
};

}  // namespace

ExprPtr parse_expression(TokenReader& tokens) { return ExpressionParser(tokens).conditional(); }

ExprPtr parse_plain_expression(TokenReader& tokens) {
  return ExpressionParser(tokens).disjunction();
}

ExprPtr parse_expressions(TokenReader& tokens, bool conditional) {
  return ExpressionParser(tokens).list(conditional);
}

}  // namespace tinkex::jinja
