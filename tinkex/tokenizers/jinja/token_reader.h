#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tinkex/tokenizers/jinja/lexer.h"

namespace tinkex::jinja {

/// What the two halves of the parser read from. After the first error there is only the end, so
/// that everything which reads comes to one.
class TokenReader {
 public:
  explicit TokenReader(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& peek(std::size_t ahead = 0) const {
    return at_ + ahead < tokens_.size() ? tokens_[at_ + ahead] : tokens_.back();
  }
  Token next() { return at_ + 1 < tokens_.size() ? std::move(tokens_[at_++]) : tokens_.back(); }
  int line() const { return peek().line; }

  bool sees(Token::Type type) const { return peek().type == type; }
  bool sees(Token::Type type, std::string_view text) const {
    return sees(type) && peek().text == text;
  }
  bool sees_operator(std::string_view text) const { return sees(Token::Type::kOperator, text); }
  bool sees_name(std::string_view text) const { return sees(Token::Type::kName, text); }

  /// Whether it was there; then it is passed.
  bool take(Token::Type type);
  bool take_operator(std::string_view text);
  bool take_name(std::string_view text);
  /// An error if it is not there.
  void expect(Token::Type type, std::string_view called);
  void expect_operator(std::string_view text);
  void expect_name(std::string_view text);
  /// The next name, whatever it is.
  std::string name(std::string_view called);

  void fail(const std::string& what);
  /// Says that something else should be here.
  void fail_expecting(std::string_view what);
  bool ok() const { return !error_; }
  const std::string& error() const { return *error_; }

  /// One level of nesting, while it lives.
  class Level {
   public:
    explicit Level(TokenReader& reader);
    ~Level() { --reader_.levels_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    TokenReader& reader_;
  };

 private:
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int levels_ = 0;
  std::optional<std::string> error_;
};

}  // namespace tinkex::jinja
