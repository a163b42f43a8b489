#include "tinkex/tokenizers/jinja/token_reader.h"

#include "tinkex/base/text.h"

namespace tinkex::jinja {
namespace {

using Type = Token::Type;

/// Parentheses take three each. Every level is a dozen calls of the parser.
constexpr int kDeepest = 150;

std::string shown(const Token& token) {
  switch (token.type) {
    case Type::kText: return "text";
    case Type::kOutputBegin: return "{{";
    case Type::kOutputEnd: return "}}";
    case Type::kBlockBegin: return "{%";
    case Type::kBlockEnd: return "%}";
    case Type::kEnd: return "the end of the template";
    default: return internal::quoted(token.text, 40);
  }
}

}  // namespace

bool TokenReader::take(Type type) {
  if (!sees(type)) return false;
  next();
  return true;
}

bool TokenReader::take_operator(std::string_view text) {
  return sees_operator(text) && take(Type::kOperator);
}

bool TokenReader::take_name(std::string_view text) { return sees_name(text) && take(Type::kName); }

void TokenReader::expect(Type type, std::string_view called) {
  if (!take(type)) fail_expecting(called);
}

void TokenReader::expect_operator(std::string_view text) {
  if (!take_operator(text)) fail_expecting(text);
}

void TokenReader::expect_name(std::string_view text) {
  if (!take_name(text)) fail_expecting(text);
}

std::string TokenReader::name(std::string_view called) {
  if (sees(Type::kName)) return next().text;
  fail_expecting(called);
  return "";
}

void TokenReader::fail(const std::string& what) {
  if (!error_) error_ = "line " + std::to_string(line()) + ": " + what;
  at_ = tokens_.size() - 1;
}

void TokenReader::fail_expecting(std::string_view what) {
  fail("expected " + std::string(what) + ", but there is " + shown(peek()));
}

TokenReader::Level::Level(TokenReader& reader) : reader_(reader) {
  if (++reader_.levels_ > kDeepest) reader_.fail("the template is nested too deeply");
}

}  // namespace tinkex::jinja
