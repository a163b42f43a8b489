#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "tinkex/error.h"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;
struct pcre2_callout_block_8;

namespace tinkex::tokenizers {

/// What one thread needs while it matches; serves any number of patterns. Counts the steps that
/// patterns of files take, which have 10,000 of them, and more by allow().
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(RegexScratch&&) = delete;
  RegexScratch& operator=(RegexScratch&&) = delete;

  /// Allows 256 steps more for each byte of a text that is to be matched. Usual patterns take 5.
  void allow(std::size_t bytes) noexcept { steps_.left += 256 * bytes; }

 private:
  friend class Regex;
  /// A step is one item of the pattern, tried once, or one byte that a repetition went over.
  struct Steps {
    std::size_t left = 10'000;
    std::size_t position = 0;  ///< In the text, at the last step.
  };
  /// Called by PCRE2 with its pcre2_callout_block and the Steps.
  static int count(pcre2_callout_block_8* block, void* steps);

  Steps steps_;
  pcre2_real_match_data_8* data_;
  pcre2_real_match_context_8* context_;
};

/// A pattern of a tokenizer, run by PCRE2's compiler to machine code. Immutable and thread-safe.
class Regex {
 public:
  enum class Outcome {
    kMatch,
    kNone,
    kGaveUp,  ///< The search took more steps than the scratch had left, or too much memory.
  };
  struct Match {
    std::size_t begin = 0;
    std::size_t end = 0;
  };

  /// Counting makes a search two times slower. Without it, a pattern must be known to go through
  /// any text in a time in proportion to its length.
  enum class Steps { kCounted, kNotCounted };

  /// From a pattern as tokenizer files have it (see translate_regex). Errors are kIo.
  static Result<Regex> from_file_pattern(std::string_view pattern, Steps steps = Steps::kCounted);
  /// That matches just this text, well-formed UTF-8.
  static Result<Regex> from_literal(std::string_view text);
  /// From a pattern of PCRE2 that is part of this program.
  static Result<Regex> compile(std::string_view pattern, Steps steps = Steps::kNotCounted);

  /// The first match in `text`, well-formed UTF-8, that begins at `from` or later. Looking back
  /// sees what is before `from`.
  Outcome find(std::string_view text, std::size_t from, RegexScratch& scratch, Match& match) const;

 private:
  explicit Regex(std::shared_ptr<const pcre2_real_code_8> code) : code_(std::move(code)) {}

  std::shared_ptr<const pcre2_real_code_8> code_;
};

}  // namespace tinkex::tokenizers
