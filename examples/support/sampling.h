#pragma once

#include <optional>
#include <string>
#include <vector>

#include "examples/support/data.h"
#include "tinkex/tokenizer.h"
#include "tinkex/training_client.h"

namespace sft {

/// What the model, as it is now, says to each prompt of the task; nothing if the program is to stop
/// before that is known. All prompts are on their way at once; shows how many have come back.
/// Throws what a call fails with.
std::optional<std::vector<std::string>> sample(tinkex::TrainingClient& trainer, const Task& task,
                                               const tinkex::Tokenizer& tokenizer);

}  // namespace sft
