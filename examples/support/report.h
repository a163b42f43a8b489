#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "examples/support/data.h"

namespace sft {

/// Text on one line of a terminal: what cannot be shown becomes '?', and no more than `most` bytes.
std::string show_text(std::string_view text, std::size_t most);

/// The same with the end of a longer text.
std::string show_end(std::string_view text, std::size_t most);

/// `3 of 64 prompts exactly right (5 %)`; a plain word where no prompt has one right answer.
std::string score(const std::vector<Prompt>& prompts, const std::vector<std::string>& answers);

/// Answers, and what they are called: "before".
struct Answers {
  std::string name;
  std::vector<std::string> texts;
};

/// A table of the first few prompts with the answers before and after. An empty list is left out.
std::string compare(const std::vector<Prompt>& prompts, const Answers& before,
                    const Answers& after);

}  // namespace sft
