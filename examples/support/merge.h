#pragma once

#include "examples/support/run_folder.h"
#include "tinkex/error.h"
#include "torch_ext/connect.h"

namespace sft {

/// Whether the run can do what --merge asks for: it trains a model from files in this process, and
/// has not written one already. Errors: kInvalidArgument with the remedy.
tinkex::Status check_merge(const RunFolder& run, const tinkex::torch_ext::ConnectOptions& where);

/// Writes the model with the adapter of the run's last checkpoint to `merged` in its folder, and
/// says so on standard output. Errors: of checkpoint_folder() and merge_adapter().
tinkex::Status merge(const tinkex::torch_ext::Connection& connection, const RunFolder& run);

/// The same for a run that is done: nothing is loaded to train it.
tinkex::Status merge_alone(const RunFolder& run, tinkex::torch_ext::ConnectOptions where);

}  // namespace sft
