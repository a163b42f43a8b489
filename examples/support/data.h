#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/tokenizer.h"
#include "torch_ext/training_text.h"

namespace sft {

using Part = tinkex::torch_ext::TextPart;
using Example = tinkex::torch_ext::TextExample;

/// A text for the model to go on from, before and after the training.
struct Prompt {
  std::string text;
  /// The one right continuation, if there is one.
  std::optional<std::string> expected;
  /// As of an example.
  bool begun = false;
  /// What people see of it: the question in a template. Empty: the end of `text`.
  std::string shown = {};
};

/// What Task::fit answers where `what` needs `longest` tokens at once and cannot be cut.
tinkex::Result<std::string> fit_whole(const std::string& what, std::int64_t longest,
                                      std::int64_t context_length);

/// Where examples come from. What `batch` gives depends on its arguments and the seed alone, so a
/// run that is resumed sees what it would have seen.
class Task {
 public:
  virtual ~Task() = default;

  /// One line for people.
  virtual std::string description() const = 0;
  /// Of the examples of a file, as they were read; "" of others.
  virtual std::string digest() const { return ""; }
  /// The examples of one step; `step` counts from 0.
  virtual std::vector<Example> batch(std::int64_t step, std::int64_t size) const = 0;
  /// What is sampled before and after.
  virtual const std::vector<Prompt>& prompts() const = 0;
  /// Most tokens that a continuation needs, its end-of-text token included. Known after fit().
  virtual std::int64_t answer_tokens() const = 0;
  /// Writes dialogues as the tokenizer's model wants them, and cuts what is longer, by this
  /// tokenizer, than the model can read; says what was done, "" if nothing.
  /// Errors: kInvalidArgument if a dialogue cannot be written so, or nothing is left to learn from.
  virtual tinkex::Result<std::string> fit(const tinkex::Tokenizer& tokenizer,
                                          std::int64_t context_length) = 0;
};

}  // namespace sft
