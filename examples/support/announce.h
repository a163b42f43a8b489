#pragma once

#include <string>

#include "examples/support/data.h"
#include "examples/support/run_folder.h"
#include "tinkex/training_client.h"
#include "torch_ext/connect.h"

namespace sft {

/// Says which server is asked first, or which file is read, as that may take long; and where a
/// small model stands in for the pretrained one.
void say_where(const tinkex::torch_ext::ConnectOptions& where, const Options& options,
               const Plan& plan);

/// Says, on standard output, what is about to be trained, on what and where. `note` is a sentence
/// about the data, or "".
void greet(const tinkex::torch_ext::Connection& connection, const tinkex::TrainingClient& trainer,
           const Task& task, const RunFolder& run, const std::string& note);

/// Says, on standard error, which step a run that fails can go on from, if one is saved.
void say_what_is_saved(const RunFolder& run);

/// Says where the results are and how to go on. `signal` is the one that stopped the run, or 0;
/// `mergeable` tells whether its model can be merged.
void say_how_to_go_on(const RunFolder& run, int signal, bool mergeable);

}  // namespace sft
