#include "tinkex/tokenizers/regex_translation.h"

#include <array>
#include <charconv>
#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/unicode_additions.h"
#include "tinkex/tokenizers/utf8.h"

namespace tinkex::tokenizers {
namespace {

constexpr std::size_t kMaxPattern = 16'384;
constexpr std::size_t kMaxDepth = 100;

// What is between square brackets for `\s` and `\S`. PCRE2's own \s has U+180E too.
constexpr std::string_view kSpace =
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"
    "\\x{205f}\\x{3000}";
constexpr std::string_view kNoSpace =
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}"
    "\\x{3001}-\\x{10ffff}";

bool is_letter(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }

std::string escaped(char32_t c) {
  std::array<char, 16> text{};
  const int length = std::snprintf(text.data(), text.size(), "\\x{%x}", static_cast<unsigned>(c));
  return {text.data(), static_cast<std::size_t>(length)};
}

/// Whether a longer character may stand for two of these when case is ignored, as U+FB01 for `fi`.
/// Oniguruma then matches it, PCRE2 does not.
bool may_be_one_character(char32_t first, char32_t second) {
  const char32_t a = first | 0x20;
  const char32_t b = second | 0x20;
  return (a == 'f' && (b == 'f' || b == 'i' || b == 'l')) || (a == 's' && (b == 's' || b == 't'));
}

/// Reads a pattern from front to back and writes the other one.
class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  Result<std::string> run() {
    while (at_ < in_.size() && problem_.empty()) step();
    if (problem_.empty() && !groups_.empty()) fail("a group without an end");
    if (problem_.empty()) return std::move(out_);
    return Error(ErrorCode::kIo, "the pattern " + internal::quoted(in_, 200) +
                                     " cannot be used: not supported at byte " +
                                     std::to_string(at_) + ": " + problem_);
  }

 private:
  struct Group {
    bool caseless;    ///< As outside of the group.
    bool repeatable;  ///< Look-around is not.
  };
  /// A member of a class in brackets: one character, or text that stands for several.
  struct Member {
    std::optional<char32_t> character;
    std::string text;
  };

  void fail(std::string_view what) {
    if (problem_.empty()) problem_ = what;
  }
  bool next_is(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  bool take(std::string_view text) {
    if (!next_is(text)) return false;
    at_ += text.size();
    return true;
  }

  void step() {
    const char c = in_[at_];
    const char32_t before = std::exchange(previous_, 0);
    switch (c) {
      case '(': return open();
      case ')': return close();
      case '[': return bracket();
      case '|':
        ++at_;
        out_ += '|';
        after_item_ = false;
        return;
      case '.': ++at_; return item("[^\\x{a}]");
      case '^':
      case '$': return fail("the anchor " + std::string(1, c));
      case '?':
      case '*':
      case '+': return repeat();
      case '{':
        if (is_interval()) return repeat();
        return fail("a brace that is no repetition");
      default: break;
    }
    const Member member = read_member(/*bracketed=*/false);
    if (!problem_.empty()) return;
    if (!member.character) return item(member.text);
    check_case(before, *member.character);
    previous_ = *member.character;
    item(escaped(*member.character));
  }

  void item(std::string_view text) {
    out_ += text;
    after_item_ = true;
  }

  void check_case(char32_t before, char32_t c) {
    if (!caseless_) return;
    if (c >= 0x80) fail("a character beyond ASCII where case is ignored");
    if (before != 0 && may_be_one_character(before, c)) {
      fail("ff, fi, fl, ss and st where case is ignored");
    }
  }

  // Groups.

  void open() {
    static constexpr std::array<std::string_view, 7> kKinds = {
        "(?:", "(?i:", "(?>", "(?=", "(?!", "(?<=", "(?<!"};
    if (groups_.size() == kMaxDepth) return fail("groups this deep");
    std::string_view kind = "(";
    for (const std::string_view each : kKinds) {
      if (next_is(each)) kind = each;
    }
    if (kind == "(" && next_is("(?")) return fail("a group that begins like this");
    at_ += kind.size();
    const bool looks = kind == "(?=" || kind == "(?!" || kind.starts_with("(?<");
    groups_.push_back({caseless_, !looks});
    if (kind == "(?i:") caseless_ = true;
    // What is captured is never asked for; a group that does not capture is faster.
    out_ += kind == "(" ? "(?:" : kind;
    after_item_ = false;
  }

  void close() {
    if (groups_.empty()) return fail("a parenthesis without a beginning");
    ++at_;
    out_ += ')';
    caseless_ = groups_.back().caseless;
    after_item_ = groups_.back().repeatable;
    groups_.pop_back();
  }

  // Repetition.

  /// Whether a repetition {n}, {n,} or {n,m} comes.
  bool is_interval() const {
    std::size_t i = at_ + 1;
    const auto digits = [&] {
      const std::size_t begin = i;
      while (i < in_.size() && is_digit(static_cast<unsigned char>(in_[i]))) ++i;
      return i > begin && i - begin <= 4;
    };
    if (!digits()) return false;
    if (i < in_.size() && in_[i] == ',') {
      ++i;
      digits();
    }
    return i < in_.size() && in_[i] == '}';
  }

  void repeat() {
    if (!after_item_) return fail("a repetition of nothing");
    const std::size_t begin = at_;
    const bool interval = in_[at_] == '{';
    at_ = interval ? in_.find('}', at_) + 1 : at_ + 1;
    const std::string_view text = in_.substr(begin, at_ - begin);
    out_ += text;
    const bool fixed = interval && text.find(',') == std::string_view::npos;
    if (take("?")) {
      // Ruby reads {n}? as "n times or not at all".
      if (fixed) return fail("{n}?");
      out_ += '?';
    } else if (take("+")) {
      // Ruby reads {n,m}+ as a repetition of a repetition.
      if (interval) return fail("{n,m}+");
      out_ += '+';
    }
    after_item_ = false;
  }

  // Classes and single characters.

  void bracket() {
    ++at_;
    const bool negated = take("^");
    std::string members;
    if (next_is("]")) return fail("an empty class");
    while (!next_is("]")) {
      if (at_ >= in_.size()) return fail("a class without an end");
      members += read_range();
      if (!problem_.empty()) return;
    }
    ++at_;
    item((negated ? "[^" : "[") + members + "]");
  }

  std::string read_range() {
    if (next_is("-")) {
      ++at_;
      if (!next_is("]") && in_[at_ - 2] != '[' && in_[at_ - 2] != '^') fail("- inside of a class");
      return "\\x{2d}";
    }
    const Member first = read_member(/*bracketed=*/true);
    if (first.character) check_case(0, *first.character);
    if (!next_is("-") || in_.substr(at_).starts_with("-]")) {
      return first.character ? escaped(*first.character) : first.text;
    }
    ++at_;
    const Member last = at_ < in_.size() ? read_member(/*bracketed=*/true) : Member{};
    if (!first.character || !last.character) fail("a range that ends with a class");
    if (!problem_.empty()) return {};
    check_case(0, *last.character);
    if (next_is("-") && !next_is("-]")) fail("a range after a range");
    return escaped(*first.character) + "-" + escaped(*last.character);
  }

  Member read_member(bool bracketed) {
    const char c = in_[at_];
    if (c == '\\') {
      ++at_;
      return read_escape(bracketed);
    }
    if (bracketed && (c == '[' || next_is("&&"))) {
      fail("a class inside of a class");
      return {};
    }
    return {next_code_point(in_, at_), {}};
  }

  Member read_escape(bool bracketed) {
    if (at_ >= in_.size()) {
      fail("a backslash at the end");
      return {};
    }
    const char32_t c = next_code_point(in_, at_);
    const auto set = [bracketed](std::string_view members) {
      return bracketed ? std::string(members) : "[" + std::string(members) + "]";
    };
    switch (c) {
      case 'n': return {U'\n', {}};
      case 'r': return {U'\r', {}};
      case 't': return {U'\t', {}};
      case 'f': return {U'\f', {}};
      case 'v': return {U'\v', {}};
      case 's': return {{}, set(kSpace)};
      case 'S': return {{}, set(kNoSpace)};
      case 'd': return {{}, set(members_of("Nd"))};
      case 'w': return {{}, set(word_members())};
      case 'D': return opposite(bracketed, members_of("Nd"));
      case 'W': return opposite(bracketed, word_members());
      case 'p': return property(bracketed, false);
      case 'P': return property(bracketed, true);
      case 'x':
      case 'u': return read_number(c);
      default: break;
    }
    if (is_letter(c) || is_digit(c) || c >= 0x80) {
      --at_;
      fail("this escape");
    }
    return {c, {}};
  }

  /// `\xHH`, `\x{H...}` and `\uHHHH`.
  Member read_number(char32_t kind) {
    const bool braces = kind == 'x' && take("{");
    const std::size_t end = braces ? in_.find('}', at_) : at_ + (kind == 'x' ? 2 : 4);
    unsigned value = 0;
    const bool inside = end != std::string_view::npos && end <= in_.size() && end - at_ <= 8;
    const char* last = in_.data() + (inside ? end : at_);
    const auto read = std::from_chars(in_.data() + at_, last, value, 16);
    const bool is_byte =
        kind == 'x' && !braces;  // Beyond ASCII a byte would be part of a character.
    if (!inside || read.ec != std::errc() || read.ptr != last ||
        value > (is_byte ? 0x7f : 0x10ffff) || (value >= 0xd800 && value < 0xe000)) {
      fail("this number of a character");
      return {};
    }
    at_ = end + (braces ? 1 : 0);
    return {value, {}};
  }

  Member property(bool bracketed, bool negated) {
    const std::size_t end = in_.find('}', at_);
    if (!take("{") || end == std::string_view::npos) {
      fail("a property without braces");
      return {};
    }
    const std::string name(in_.substr(at_, end - at_));
    const std::string members = members_of(name);
    if (members.empty()) fail("the property " + internal::quoted(name));
    if (caseless_ && name.size() == 2 && name[0] == 'L') fail("\\p{Lx} where case is ignored");
    at_ = end + 1;
    if (negated) return opposite(bracketed, members);
    return {{}, bracketed ? members : "[" + members + "]"};
  }

  Member opposite(bool bracketed, const std::string& members) {
    if (bracketed) fail("the opposite of a class inside of a class");
    return {{}, "[^" + members + "]"};
  }

  /// What is between square brackets for a property; empty for one that is not known.
  static std::string members_of(std::string_view name) {
    if (name.size() <= 2) {
      static constexpr std::string_view kCategories =
          " L Lu Ll Lt Lm Lo M Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp ";
      const bool known = !name.empty() &&
                         kCategories.find(" " + std::string(name) + " ") != std::string_view::npos;
      return known ? "\\p{" + std::string(name) + "}" + unicode_additions(name) : "";
    }
    for (const std::string_view script : {"Han", "Hiragana", "Katakana", "Hangul", "Latin"}) {
      if (name == script) return "\\p{sc:" + std::string(name) + "}" + unicode_additions(name);
    }
    return "";
  }

  static std::string word_members() {
    // Oniguruma counts the superscripts and fractions of Latin-1 to the words.
    return "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}" +
           unicode_additions("word");
  }

  std::string_view in_;
  std::size_t at_ = 0;
  std::string out_;
  std::string problem_;
  std::vector<Group> groups_;
  char32_t previous_ = 0;  ///< The character right before, 0 if something else was there.
  bool caseless_ = false;
  bool after_item_ = false;  ///< Whether a repetition may come.
};

}  // namespace

Result<std::string> translate_regex(std::string_view pattern) {
  if (pattern.size() > kMaxPattern || !internal::is_utf8(pattern)) {
    return Error(ErrorCode::kIo, "a pattern is not UTF-8 or is longer than " +
                                     std::to_string(kMaxPattern) + " bytes");
  }
  return Translator(pattern).run();
}

std::string literal_regex(std::string_view text) {
  std::string pattern;
  for (std::size_t position = 0; position < text.size();) {
    pattern += escaped(next_code_point(text, position));
  }
  return pattern;
}

}  // namespace tinkex::tokenizers
