#include "tinkex/tokenizers/pre_tokenizer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/unicode_additions.h"
#include "tinkex/tokenizers/utf8.h"

namespace tinkex::tokenizers {
namespace {

constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// llama.cpp, which defines the names, splits these as the models' own tokenizer.json do.
constexpr std::array<WordFamily, 8> kFamilies = {{
    {"gpt-2", false, kGpt2},
    {"smollm", true, kGpt2},
    {"starcoder", true, kGpt2},
    {"llama-bpe", false, kLlama3},
    {"llama3", false, kLlama3},
    {"llama-v3", false, kLlama3},
    {"qwen2", false, kQwen2},
    {"deepseek-r1-qwen", false, kQwen2},
}};

/// A part of a text, and whether the pattern matches there.
struct Piece {
  std::size_t begin;
  std::size_t end;
  bool match;
};

/// Goes through the matches of a pattern as the onig crate does: an empty match right after another
/// match does not count, and the search goes on one character later.
class MatchWalk {
 public:
  MatchWalk(const Regex& regex, std::string_view text, RegexScratch& scratch)
      : regex_(regex), text_(text), scratch_(scratch) {
    scratch.allow(text.size());
  }

  Regex::Outcome next(Regex::Match& match) {
    while (from_ <= text_.size()) {
      const Regex::Outcome outcome = regex_.find(text_, from_, scratch_, match);
      if (outcome != Regex::Outcome::kMatch) return outcome;
      if (match.begin < match.end || match.end != last_end_) {
        from_ = last_end_ = match.end;
        return outcome;
      }
      if (from_ == text_.size()) break;
      next_code_point(text_, from_);
    }
    return Regex::Outcome::kNone;
  }

 private:
  const Regex& regex_;
  std::string_view text_;
  RegexScratch& scratch_;
  std::size_t from_ = 0;
  std::size_t last_end_ = std::string_view::npos;
};

/// Joins pieces as the behavior says. `match` of the result: whether to leave the piece out.
std::vector<Piece> joined(SplitBehavior behavior, std::vector<Piece> pieces) {
  const auto keep_all = [](std::vector<Piece> all) {
    for (Piece& piece : all) piece.match = false;
    return all;
  };
  if (behavior == SplitBehavior::kRemoved) return pieces;
  if (behavior == SplitBehavior::kIsolated) return keep_all(std::move(pieces));
  const bool backwards = behavior == SplitBehavior::kMergedWithNext;
  if (backwards) std::reverse(pieces.begin(), pieces.end());
  std::vector<Piece> out;
  bool previous = false;
  for (const Piece& piece : pieces) {
    const bool joins =
        behavior == SplitBehavior::kContiguous ? piece.match == previous : piece.match && !previous;
    previous = piece.match;
    if (!joins || out.empty()) {
      out.push_back(piece);
    } else if (backwards) {
      out.back().begin = piece.begin;
    } else {
      out.back().end = piece.end;
    }
  }
  if (backwards) std::reverse(out.begin(), out.end());
  return keep_all(std::move(out));
}

Result<PreTokenizer> make(const WordFamily& family) {
  std::vector<PreTokenizerStep> steps;
  if (family.digits) {
    Result<SplitStep> digits = digits_split(/*individual=*/true);
    if (!digits) return digits.error();
    steps.emplace_back(*std::move(digits));
  }
  Result<Regex> regex = file_regex(family.pattern);
  if (!regex) return regex.error();
  steps.emplace_back(SplitStep{*std::move(regex), SplitBehavior::kIsolated, false});
  return PreTokenizer(std::move(steps));
}

}  // namespace

Result<Regex> file_regex(std::string_view pattern) {
  // One of the alternatives of these takes whatever another one went over in vain.
  const bool usual = pattern == kGpt2 || pattern == kLlama3 || pattern == kQwen2;
  return Regex::from_file_pattern(pattern,
                                  usual ? Regex::Steps::kNotCounted : Regex::Steps::kCounted);
}

Result<SplitStep> gpt2_split() {
  Result<Regex> regex = file_regex(kGpt2);
  if (!regex) return regex.error();
  return SplitStep{*std::move(regex), SplitBehavior::kIsolated, false};
}

Result<SplitStep> digits_split(bool individual) {
  Result<Regex> regex = Regex::compile("[\\p{N}" + unicode_additions("numeric") + "]");
  if (!regex) return regex.error();
  const auto behavior = individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous;
  return SplitStep{*std::move(regex), behavior, false};
}

Result<WordFamily> word_family(std::string_view name) {
  std::string known;
  for (const WordFamily& family : kFamilies) {
    if (family.name == name) return family;
    known += (known.empty() ? "" : ", ") + std::string(family.name);
  }
  return Error(ErrorCode::kIo, "the pre-tokenizer " + internal::quoted(name) +
                                   " is not supported; there are: " + known);
}

Result<PreTokenizer> PreTokenizer::named(std::string_view name) {
  const Result<WordFamily> family = word_family(name);
  if (!family) return family.error();
  return make(*family);
}

bool PreTokenizer::split(std::string_view text, RegexScratch& scratch, const Sink& sink) const {
  return text.empty() || run(0, text, scratch, sink);
}

bool PreTokenizer::run(std::size_t step, std::string_view text, RegexScratch& scratch,
                       const Sink& sink) const {
  if (step == steps_.size()) {
    sink(text);
    return true;
  }
  if (const auto* split = std::get_if<SplitStep>(&steps_[step])) {
    const bool plain = split->behavior == SplitBehavior::kIsolated;
    return plain ? isolate(*split, step + 1, text, scratch, sink)
                 : regroup(*split, step + 1, text, scratch, sink);
  }
  if (text.front() == ' ') return run(step + 1, text, scratch, sink);
  return run(step + 1, " " + std::string(text), scratch, sink);
}

bool PreTokenizer::isolate(const SplitStep& step, std::size_t next, std::string_view text,
                           RegexScratch& scratch, const Sink& sink) const {
  MatchWalk walk(step.regex, text, scratch);
  const auto give = [&](std::size_t begin, std::size_t end) {
    return begin == end || run(next, text.substr(begin, end - begin), scratch, sink);
  };
  std::size_t done = 0;
  Regex::Match match;
  Regex::Outcome outcome = walk.next(match);
  for (; outcome == Regex::Outcome::kMatch; outcome = walk.next(match)) {
    if (!give(done, match.begin) || !give(match.begin, match.end)) return false;
    done = match.end;
  }
  return outcome == Regex::Outcome::kNone && give(done, text.size());
}

bool PreTokenizer::regroup(const SplitStep& step, std::size_t next, std::string_view text,
                           RegexScratch& scratch, const Sink& sink) const {
  MatchWalk walk(step.regex, text, scratch);
  std::vector<Piece> pieces;
  std::size_t done = 0;
  Regex::Match match;
  Regex::Outcome outcome = walk.next(match);
  for (; outcome == Regex::Outcome::kMatch; outcome = walk.next(match)) {
    if (done != match.begin) pieces.push_back({done, match.begin, step.invert});
    pieces.push_back({match.begin, match.end, !step.invert});
    done = match.end;
  }
  if (outcome != Regex::Outcome::kNone) return false;
  if (done != text.size()) pieces.push_back({done, text.size(), step.invert});
  for (const Piece& piece : joined(step.behavior, std::move(pieces))) {
    const bool empty = piece.begin == piece.end;
    if (piece.match || empty) continue;
    const std::string_view part = text.substr(piece.begin, piece.end - piece.begin);
    if (!run(next, part, scratch, sink)) return false;
  }
  return true;
}

}  // namespace tinkex::tokenizers
