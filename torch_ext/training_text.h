#pragma once

// Texts to learn from, before they become tensors. Nothing here needs LibTorch.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/chat_template.h"
#include "tinkex/error.h"
#include "tinkex/tokenizer.h"

namespace tinkex::torch_ext {

/// A stretch of a text. Only trained parts count in the loss.
struct TextPart {
  std::string text;
  bool trained = false;
};

/// One text to learn from.
struct TextExample {
  std::vector<TextPart> parts;
  /// Whether the end-of-text token follows every trained part, so that the model learns to stop.
  bool ended = true;
  /// Whether the text brings what begins a text, so that nothing is put before it.
  bool begun = false;
  /// A dialogue as it was read, an object of JSON with "messages", for write_dialogue(); `parts`
  /// have it as plain `role: content` lines, for models without a chat template. Empty: it is no
  /// dialogue.
  std::string dialogue = {};
  std::size_t line = 0;  ///< Of the file that the example is from; counts from 1, 0 if of none.
};

/// Reads an example from an object of JSON in UTF-8, by the first of these forms of which
/// it has a member, whatever that holds; further members are ignored:
///
///   {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", ...}]}
///                                          what the assistant says is trained
///   {"prompt": "...", "completion": "..."} the completion is trained
///   {"text": "..."}                        all of it is trained
///
/// Errors: kInvalidArgument naming the field, what it is and what it should be; also for an
/// example with nothing to learn from, and for JSON that nests deeper than 64.
Result<TextExample> parse_example(std::string_view json);

/// A dialogue, as TextExample::dialogue has it, written by a model's chat template. Only the
/// assistant's turns are trained: of each, what the template adds to a text that ends where the
/// assistant is to begin. Most templates only ever add, which gives one example; where a turn
/// changes what is written of earlier ones, it begins another. A member "tools" is handed to the
/// template. Templates that write the day write 26 July 2024, so that runs can be repeated.
///
/// Errors: kInvalidArgument as of parse_example; if the template refuses the dialogue, or writes a
/// turn elsewhere than after its beginning.
Result<std::vector<TextExample>> write_dialogue(const ChatTemplate& chat,
                                                std::string_view dialogue);

/// Token ids, and how much each counts in the loss: 1 where it is trained, else 0.
struct TokenizedText {
  std::vector<std::int64_t> tokens;
  std::vector<float> weights;
};

/// Tokenizes an example, each part by itself: a prompt has the tokens that it will have when it is
/// sampled from. What begins a text comes first. A single token follows an end of text, for what
/// is predicted needs something to come after; a text of none stays empty.
///
/// Errors: kInvalidArgument if an end of text is needed and the tokenizer knows none.
Result<TokenizedText> tokenize(const TextExample& example, const Tokenizer& tokenizer);

}  // namespace tinkex::torch_ext
