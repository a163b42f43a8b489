#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "examples/support/data.h"
#include "examples/support/options.h"
#include "examples/support/run_folder.h"
#include "tinkex/outputs.h"
#include "tinkex/service_client.h"
#include "tinkex/tokenizer.h"
#include "torch_ext/connect.h"

namespace sft {

/// Where to train: the run's server, or the embedded backend with its checkpoints in the folder.
/// Without a base model the plan gets the default one. If the embedded backend is to load it from a
/// path, the plan's becomes absolute.
/// Errors: of place(); kInvalidArgument for a --dtype of a model without files.
tinkex::Result<tinkex::torch_ext::ConnectOptions> connect_options(RunFolder& run,
                                                                  const Options& options);

/// How the plan wants the weights of a model from files.
tinkex::torch_ext::local::WeightType weight_type(const Plan& plan);

/// Whether the embedded backend has that model without any files.
bool is_built_in(const std::string& base_model);

/// Of a run whose model was one from files, which are not there any more.
tinkex::Error model_is_gone(const std::string& base_model);

/// An error of connecting, with the server that it is about where it does not say so itself.
tinkex::Error about_server(tinkex::Error error, const tinkex::torch_ext::ConnectOptions& options);

/// An error of making the plan's model: if the request is to blame, with the options that it is
/// made from. Where the rank was not given, that it is the default.
tinkex::Error about_new_model(tinkex::Error error, const Plan& plan, bool rank_given);

/// An error of opening the run's checkpoint, with the remedy where it is on this machine: about the
/// checkpoint, or about a model that was changed since.
tinkex::Error about_checkpoint(tinkex::Error error, const RunFolder& run);

/// The run's server, which it records, or the embedded backend with its checkpoints in the run's
/// folder. Errors: as about_server() has them.
tinkex::Result<tinkex::torch_ext::Connection> open_connection(
    RunFolder& run, const tinkex::torch_ext::ConnectOptions& where);

/// A model with fresh adapters, or as the run's checkpoint has it, optimizer included. Errors: as
/// about_new_model() or about_checkpoint() has them.
tinkex::Result<tinkex::TrainingClient> open_model(tinkex::ServiceClient& service,
                                                  const std::string& base_model,
                                                  const RunFolder& run, bool rank_given);

/// A model that a server has.
struct KnownModel {
  std::string name;  ///< By which to ask for it.
  std::int64_t context_length = 0;
};

/// The model called as the run's plan says, or after that path.
/// Errors: kInvalidArgument with the server's models and the remedy if it is not among them.
tinkex::Result<KnownModel> find_model(tinkex::ServiceClient& service, const RunFolder& run);

/// The tokenizer that --tokenizer names, else the model's own: bytes, or a file on this machine.
/// Errors: kInvalidArgument with the remedy if it is neither, or does not tell what ends a text;
/// kIo if its file cannot be used.
tinkex::Result<std::shared_ptr<const tinkex::Tokenizer>> open_tokenizer(
    const tinkex::ModelInfo& info, const Plan& plan);

/// The pretrained model that `./bazelw run //examples:sft` fetches before it starts; empty if it is
/// not on this machine.
std::string fetched_model();

/// Gives the plan what suits its base model and was not asked for: steps, batch size, learning
/// rate.
void choose_defaults(Plan& plan);

/// The plan's data, or a task that suits the model: Pig Latin for the small built-in ones, which
/// know nothing; orders to JSON for those that read and write already.
/// Errors: of read_examples.
tinkex::Result<std::unique_ptr<Task>> open_task(const Plan& plan);

/// Records in the plan which examples a run learns from. A sentence about those of a resumed run,
/// if its file has others by now, else "".
std::string about_data(RunFolder& run, const Task& task);

/// Makes LibTorch, and with it the embedded backend, use that many threads; 0 changes nothing.
void use_threads(int threads);

}  // namespace sft
