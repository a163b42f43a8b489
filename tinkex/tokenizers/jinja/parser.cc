#include "tinkex/tokenizers/jinja/parser.h"

#include <algorithm>
#include <initializer_list>
#include <string>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/jinja/expression_parser.h"
#include "tinkex/tokenizers/jinja/lexer.h"
#include "tinkex/tokenizers/jinja/token_reader.h"

namespace tinkex::jinja {
namespace {

using Kind = Node::Kind;
using Type = Token::Type;
using Ends = std::initializer_list<const char*>;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Result<Body> run() {
    Body body = parse_body({});
    if (!tokens_.ok()) return invalid_argument(tokens_.error());
    return body;
  }

 private:
  Node make(Kind kind) {
    Node node;
    node.kind = kind;
    node.line = tokens_.line();
    return node;
  }

  /// Up to a block with one of these names, of which `{%` and the name are passed.
  Body parse_body(Ends ends) {
    Body body;
    while (tokens_.ok()) {
      if (tokens_.sees(Type::kEnd)) {
        if (ends.size() > 0) tokens_.fail_expecting(std::string("{% ") + *(ends.end() - 1) + " %}");
        break;
      }
      Node node = make(Kind::kText);
      if (tokens_.sees(Type::kText)) {
        node.text = tokens_.next().text;
      } else if (tokens_.take(Type::kOutputBegin)) {
        node.kind = Kind::kOutput;
        node.expr = parse_expressions(tokens_);
        tokens_.expect(Type::kOutputEnd, "}}");
      } else {
        tokens_.expect(Type::kBlockBegin, "{%");
        end_ = tokens_.name("a statement");
        if (std::find(ends.begin(), ends.end(), end_) != ends.end()) break;
        node = parse_statement(std::exchange(end_, ""));
      }
      body.push_back(std::move(node));
    }
    return body;
  }

  void expect_block_end() { tokens_.expect(Type::kBlockEnd, "%}"); }

  Node parse_statement(const std::string& name) {
    const TokenReader::Level level(tokens_);
    if (name == "if") return parse_if();
    if (name == "for") return parse_for();
    if (name == "set") return parse_set();
    if (name == "generation") return parse_generation();
    if (name == "break" || name == "continue") return parse_jump(name);
    tokens_.fail("the statement " + internal::quoted(name, 40) +
                 " is not supported here; if, for, set, break, continue and generation are");
    return {};
  }

  Node parse_if() {
    Node node = make(Kind::kIf);
    for (bool more = true; more && tokens_.ok();) {
      node.conditions.push_back(end_ == "else" ? nullptr : parse_expressions(tokens_, false));
      expect_block_end();
      node.bodies.push_back(node.conditions.back() ? parse_body({"elif", "else", "endif"})
                                                   : parse_body({"endif"}));
      more = end_ != "endif";
    }
    end_.clear();
    expect_block_end();
    return node;
  }

  Node parse_for() {
    Node node = make(Kind::kFor);
    node.target = parse_target();
    tokens_.expect_name("in");
    node.expr = parse_expressions(tokens_, false);
    node.conditions.push_back(tokens_.take_name("if") ? parse_expression(tokens_) : nullptr);
    expect_block_end();
    ++loops_;
    node.bodies.push_back(parse_body({"else", "endfor"}));
    --loops_;
    node.bodies.emplace_back();
    if (end_ == "else") {
      expect_block_end();
      node.bodies.back() = parse_body({"endfor"});
    }
    end_.clear();
    expect_block_end();
    return node;
  }

  Node parse_set() {
    Node node = make(Kind::kSet);
    node.target = parse_target();
    if (!node.target.unpacks && tokens_.take_operator(".")) {
      node.target.attribute = tokens_.name("a name after the point");
    }
    if (tokens_.take_operator("=")) {
      node.expr = parse_expressions(tokens_);
      expect_block_end();
      return node;
    }
    node.kind = Kind::kCapture;
    expect_block_end();
    node.bodies.push_back(parse_body({"endset"}));
    end_.clear();
    expect_block_end();
    return node;
  }

  /// What an assistant says, by an extension of Hugging Face's.
  Node parse_generation() {
    Node node = make(Kind::kScope);
    expect_block_end();
    node.bodies.push_back(parse_body({"endgeneration"}));
    end_.clear();
    expect_block_end();
    return node;
  }

  Node parse_jump(const std::string& name) {
    Node node = make(name == "break" ? Kind::kBreak : Kind::kContinue);
    if (loops_ == 0) tokens_.fail("a " + name + " is in no loop");
    expect_block_end();
    return node;
  }

  /// A name, or several between commas.
  Target parse_target() {
    Target target;
    const bool parenthesis = tokens_.take_operator("(");
    do {
      if (!target.names.empty() && !tokens_.sees(Type::kName)) break;
      target.names.push_back(parse_variable());
      target.unpacks = target.unpacks || tokens_.sees_operator(",");
    } while (tokens_.ok() && tokens_.take_operator(","));
    if (parenthesis) tokens_.expect_operator(")");
    return target;
  }

  std::string parse_variable() {
    std::string name = tokens_.name("a variable");
    for (const char* word : {"true", "True", "false", "False", "none", "None"}) {
      if (name == word) tokens_.fail(name + " cannot be assigned to");
    }
    return name;
  }

  TokenReader tokens_;
  int loops_ = 0;
  std::string end_;  ///< The name of the block that ended the last body.
};

}  // namespace

Result<Body> parse(std::string_view source) {
  Result<std::vector<Token>> tokens = lex(source);
  if (!tokens) return tokens.error();
  return Parser(*std::move(tokens)).run();
}

}  // namespace tinkex::jinja
