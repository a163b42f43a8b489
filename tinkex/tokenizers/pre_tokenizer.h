#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/tokenizers/regex.h"

namespace tinkex::tokenizers {

/// What becomes of the matches of a Split step, as Hugging Face names it.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

/// Cuts a text where a pattern matches.
struct SplitStep {
  Regex regex;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  ///< What does not match counts as match.
};

/// Puts a space before each piece that does not begin with one.
struct PrefixSpaceStep {};

using PreTokenizerStep = std::variant<SplitStep, PrefixSpaceStep>;

/// How the models of a family cut a text into words.
struct WordFamily {
  std::string_view name;     ///< As a GGUF file has it in `tokenizer.ggml.pre`.
  bool digits = false;       ///< Each digit is a word.
  std::string_view pattern;  ///< Each match is a word, and what lies between two.
};

/// The family that a GGUF file names: "gpt-2", "smollm", "starcoder", "llama-bpe" or "qwen2", or
/// another name of one of these. Another one is an error, of code kIo, that lists them.
Result<WordFamily> word_family(std::string_view name);

/// Cuts a text into the words that byte pair encoding then works on. Immutable and thread-safe.
class PreTokenizer {
 public:
  /// Takes a word, which is valid only during the call.
  using Sink = std::function<void(std::string_view word)>;

  explicit PreTokenizer(std::vector<PreTokenizerStep> steps) : steps_(std::move(steps)) {}

  /// Of the family that word_family() knows by that name.
  static Result<PreTokenizer> named(std::string_view name);

  /// Gives every word of `text`, which is well-formed UTF-8, to `sink`, in order; each step cuts
  /// the pieces of the step before. False if a pattern gave up (see Regex::Outcome).
  bool split(std::string_view text, RegexScratch& scratch, const Sink& sink) const;

 private:
  bool run(std::size_t step, std::string_view text, RegexScratch& scratch, const Sink& sink) const;
  bool isolate(const SplitStep& step, std::size_t next, std::string_view text,
               RegexScratch& scratch, const Sink& sink) const;
  bool regroup(const SplitStep& step, std::size_t next, std::string_view text,
               RegexScratch& scratch, const Sink& sink) const;

  std::vector<PreTokenizerStep> steps_;
};

/// Of a pattern of a tokenizer.json; the usual ones run without counting their steps.
Result<Regex> file_regex(std::string_view pattern);

/// The steps of the usual parts.
Result<SplitStep> gpt2_split();
Result<SplitStep> digits_split(bool individual);

}  // namespace tinkex::tokenizers
