#include "tinkex/tokenizers/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/jinja/string_literal.h"
#include "tinkex/tokenizers/jinja/text.h"

namespace tinkex::jinja {
namespace {

using Type = Token::Type;

/// Names are copied and compared without a count of their bytes.
constexpr std::size_t kLongestName = 200;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c);
}

/// Line ends as "\n", and without the last one.
std::string normalised(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
    } else if (i + 1 == source.size() || source[i + 1] != '\n') {
      out += '\n';
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalised(source)) {}

  Result<std::vector<Token>> run() {
    while (at_ < source_.size() && !error_) outside();
    if (error_) return invalid_argument(*error_);
    add(Type::kEnd, "");
    return std::move(tokens_);
  }

 private:
  void fail(const std::string& what, int line) {
    if (!error_) error_ = "line " + std::to_string(line) + ": " + what;
  }
  void add(Type type, std::string text) { tokens_.push_back({type, std::move(text), line_}); }

  bool sees(std::string_view text) const {
    return std::string_view(source_).substr(at_).starts_with(text);
  }
  void go_to(std::size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    at_ = end;
  }
  void skip_space() {
    const std::string_view rest = std::string_view(source_).substr(at_);
    go_to(source_.size() - strip(rest, Side::kLeft).size());
  }

  std::size_t find_tag() const {
    for (std::size_t at = at_; (at = source_.find('{', at)) != std::string::npos; ++at) {
      if (at + 1 == source_.size()) break;
      if (std::string_view("{%#").find(source_[at + 1]) != std::string_view::npos) return at;
    }
    return source_.size();
  }

  /// Text up to the next tag, and that.
  void outside() {
    std::size_t begin = find_tag();
    const char kind = begin < source_.size() ? source_[begin + 1] : '\0';
    const char sign = begin + 2 < source_.size() ? source_[begin + 2] : '\0';
    std::string_view text = std::string_view(source_).substr(at_, begin - at_);
    if (kind != '\0' && sign == '-') {
      text = strip(text, Side::kRight);
    } else if ((kind == '%' || kind == '#') && sign != '+') {
      text = without_indentation(text);
    }
    if (!text.empty()) add(Type::kText, std::string(text));
    go_to(begin);
    if (kind == '\0') return;
    begin += sign == '-' || sign == '+' ? 3 : 2;
    kind == '#' ? comment(begin) : tag(kind, begin);
    at_line_start_ = at_ > 0 && source_[at_ - 1] == '\n';
  }

  /// lstrip_blocks: white space from the beginning of a line up to a block goes.
  std::string_view without_indentation(std::string_view text) const {
    const std::size_t line = text.rfind('\n') + 1;  // npos + 1 is 0.
    if (line == 0 && !at_line_start_) return text;
    return strip(text.substr(line), Side::kLeft).empty() ? text.substr(0, line) : text;
  }

  void comment(std::size_t begin) {
    const std::size_t end = source_.find("#}", begin);
    if (end == std::string::npos) {
      fail("the comment that begins here has no #}", line_);
      return go_to(source_.size());
    }
    const char sign = end > begin ? source_[end - 1] : '\0';
    go_to(end + 2);
    after_block(sign);
  }

  /// What follows the end of a block or comment: "-" takes all white space, and trim_blocks one
  /// line end unless there is a "+".
  void after_block(char sign) {
    if (sign == '-') {
      skip_space();
    } else if (sign != '+' && sees("\n")) {
      go_to(at_ + 1);
    }
  }

  void tag(char kind, std::size_t begin) {
    const int line = line_;
    add(kind == '%' ? Type::kBlockBegin : Type::kOutputBegin, "");
    go_to(begin);
    open_.clear();
    for (skip_space(); !error_ && at_ < source_.size(); skip_space()) {
      if (open_.empty() && ends(kind)) return;
      token();
    }
    fail("the tag that begins here is not closed", line);
  }

  /// Whether the tag ends here, which is then passed.
  bool ends(char kind) {
    const std::string_view mark = kind == '%' ? "%}" : "}}";
    char sign = '\0';
    if (sees("-" + std::string(mark)) || (kind == '%' && sees("+%}"))) sign = source_[at_];
    if (sign == '\0' && !sees(mark)) return false;
    add(kind == '%' ? Type::kBlockEnd : Type::kOutputEnd, "");
    go_to(at_ + (sign == '\0' ? 2 : 3));
    if (kind == '%' || sign == '-') after_block(sign);
    return true;
  }

  void token() {
    const char c = source_[at_];
    if (c == '\'' || c == '"') return string(c);
    if (is_digit(c)) return number();
    if (is_name(c)) return name();
    for (const char* two : {"==", "!=", "<=", ">=", "//", "**"}) {
      if (sees(two)) return symbol(2);
    }
    if (std::string_view("+-*/%~[](){}<>=.:|,;").find(c) != std::string_view::npos) {
      return symbol(1);
    }
    fail("unexpected " + internal::quoted(std::string_view(source_).substr(at_, 12)), line_);
  }

  void symbol(std::size_t size) {
    const char c = source_[at_];
    if (c == '(' || c == '[' || c == '{') open_ += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open_.empty() || open_.back() != c) {
        return fail(std::string("a ") + c + " closes nothing", line_);
      }
      open_.pop_back();
    }
    add(Type::kOperator, source_.substr(at_, size));
    at_ += size;
  }

  void name() {
    std::size_t end = at_;
    while (end < source_.size() && is_name(source_[end])) ++end;
    if (end - at_ > kLongestName) return fail("a name is too long", line_);
    add(Type::kName, source_.substr(at_, end - at_));
    at_ = end;
  }

  std::size_t digits(std::size_t at) const {
    while (at < source_.size() && (is_digit(source_[at]) || source_[at] == '_')) ++at;
    return at;
  }

  void number() {
    const bool index = at_ > 0 && source_[at_ - 1] == '.';  // `list.0.name`
    std::size_t end = digits(at_);
    bool real = false;
    const auto digit_at = [&](std::size_t at) {
      return at < source_.size() && is_digit(source_[at]);
    };
    if (!index && end < source_.size() && source_[end] == '.' && digit_at(end + 1)) {
      real = true;
      end = digits(end + 1);
    }
    if (!index && end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      const bool sign =
          end + 1 < source_.size() && (source_[end + 1] == '-' || source_[end + 1] == '+');
      if (digit_at(end + (sign ? 2 : 1))) {
        real = true;
        end = digits(end + (sign ? 2 : 1));
      }
    }
    std::string text = source_.substr(at_, end - at_);
    std::erase(text, '_');
    add(real ? Type::kFloat : Type::kInteger, std::move(text));
    at_ = end;
  }

  void string(char mark) {
    std::size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != mark) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return fail("the text that begins here has no end", line_);
    auto value = string_literal(std::string_view(source_).substr(at_ + 1, end - at_ - 1));
    if (!value) return fail("a text has an escape that is no character", line_);
    add(Type::kString, *std::move(value));
    go_to(end + 1);
  }

  const std::string source_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool at_line_start_ = true;
  std::string open_;  ///< The brackets that are to be closed.
  std::vector<Token> tokens_;
  std::optional<std::string> error_;
};

}  // namespace

Result<std::vector<Token>> lex(std::string_view source) { return Lexer(source).run(); }

}  // namespace tinkex::jinja
