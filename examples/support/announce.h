#pragma once

#include <string>
#include <vector>

#include "examples/support/data.h"
#include "examples/support/run_folder.h"
#include "tinkex/training_client.h"
#include "torch_ext/connect.h"

namespace sft {

/// Says which server is asked first, or which file is read, as that may take long; and where a
/// small model stands in for the pretrained one.
void say_where(const tinkex::torch_ext::ConnectOptions& where, const Options& options,
               const Plan& plan);

/// Says, on standard output, what is about to be trained, on what and where. `notes` are sentences
/// about the data; those that are "" are left out.
void greet(const tinkex::torch_ext::Connection& connection, const tinkex::TrainingClient& trainer,
           const Task& task, const RunFolder& run, const std::vector<std::string>& notes);

/// Says, on standard error, that it is not known whether `step` has ruined the model, and which
/// earlier checkpoint stays for that reason.
void say_unchecked(const RunFolder& run, std::int64_t step, const std::string& why);

/// Says, on standard error, which step a run that fails can go on from, if one is saved; or, of all
/// steps, how to `merge` it, if that was asked for.
void say_what_is_saved(const RunFolder& run, bool merge);

/// How a run has ended.
struct Ending {
  int signal = 0;          ///< The one that stopped it, or 0.
  bool merge = false;      ///< Whether --merge was given.
  bool mergeable = false;  ///< Whether its model can be merged.
};

/// Says where the results are and how to go on.
void say_how_to_go_on(const RunFolder& run, const Ending& ending);

}  // namespace sft
