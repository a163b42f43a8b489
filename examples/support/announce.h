#pragma once

#include <string>

#include "examples/support/data.h"
#include "examples/support/run_folder.h"
#include "tinkex/training_client.h"
#include "torch_ext/connect.h"

namespace sft {

/// Says, on standard output, what is about to be trained, on what and where. `note` is a sentence
/// about the data, or "".
void greet(const tinkex::torch_ext::Connection& connection, const tinkex::TrainingClient& trainer,
           const Task& task, const RunFolder& run, const std::string& note);

/// Says where the results are and how to go on. `stopped`: by Ctrl-C.
void say_how_to_go_on(const RunFolder& run, bool stopped);

}  // namespace sft
