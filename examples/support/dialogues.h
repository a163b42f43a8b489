#pragma once

#include <string>
#include <vector>

#include "examples/support/data.h"
#include "tinkex/chat_template.h"
#include "tinkex/tokenizer.h"

namespace sft {

/// A dialogue, a line of JSON with "messages" and perhaps "tools", as a model's chat template
/// writes it: only the assistant's turns are learned. What is learned of a turn is what the
/// template adds to a text that ends where the assistant is to begin. Most templates only ever add,
/// which gives one example; where a turn changes what is written of earlier ones, it begins
/// another. Errors: kInvalidArgument if the template refuses the dialogue, or writes a turn
/// elsewhere than after its beginning.
tinkex::Result<std::vector<Example>> write_dialogue(const tinkex::ChatTemplate& chat,
                                                    const std::string& line);

/// What a model says that says this text: up to its end, without special tokens.
std::string spoken(const std::string& text, const tinkex::Tokenizer& tokenizer);

}  // namespace sft
