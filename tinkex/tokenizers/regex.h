#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "tinkex/error.h"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;

namespace tinkex::tokenizers {

/// What one thread needs while it matches; serves any number of patterns.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(RegexScratch&&) = delete;
  RegexScratch& operator=(RegexScratch&&) = delete;

 private:
  friend class Regex;
  pcre2_real_match_data_8* data_;
  pcre2_real_match_context_8* context_;
};

/// A pattern of a tokenizer, run by PCRE2's compiler to machine code. Immutable and thread-safe.
class Regex {
 public:
  enum class Outcome {
    kMatch,
    kNone,
    kGaveUp,  ///< The search took too many steps or too much memory.
  };
  struct Match {
    std::size_t begin = 0;
    std::size_t end = 0;
  };

  /// From a pattern as tokenizer files have it (see translate_regex). Errors are kIo.
  static Result<Regex> from_file_pattern(std::string_view pattern);
  /// That matches just this text, well-formed UTF-8.
  static Result<Regex> from_literal(std::string_view text);
  /// From a pattern of PCRE2 that is part of this program.
  static Result<Regex> compile(std::string_view pattern);

  /// The first match in `text`, well-formed UTF-8, that begins at `from` or later. Looking back
  /// sees what is before `from`. From one beginning it tries at most 10,000 + 16 * bytes steps.
  Outcome find(std::string_view text, std::size_t from, RegexScratch& scratch, Match& match) const;

 private:
  explicit Regex(std::shared_ptr<const pcre2_real_code_8> code) : code_(std::move(code)) {}

  std::shared_ptr<const pcre2_real_code_8> code_;
};

}  // namespace tinkex::tokenizers
