#include "examples/support/setup.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "examples/support/file_task.h"
#include "examples/support/orders.h"
#include "examples/support/pig_latin.h"
#include "examples/support/server_name.h"
#include "examples/support/text_files.h"
#include "tinkex/tokenizer.h"
#include "torch_ext/backend_errors.h"
#include "torch_ext/load_tokenizer.h"
#include "torch_ext/local/config.h"

namespace sft {
namespace {

namespace local = tinkex::torch_ext::local;

using tinkex::invalid_argument;
using tinkex::SupportedModel;

constexpr std::int64_t kUnlimited = std::int64_t{1} << 20;

std::string names_of(const std::vector<SupportedModel>& models) {
  constexpr std::size_t kShown = 12;
  std::string names;
  for (std::size_t i = 0; i < std::min(kShown, models.size()); ++i) {
    names += (i == 0 ? "" : ", ") + models[i].model_name;
  }
  return models.size() > kShown ? names + ", ..." : names;
}

constexpr char kSmallModel[] = "tinkex/tiny";
constexpr char kFetchedModel[] = "models/SmolLM2-135M-Instruct.Q4_1.gguf";

/// Where `bazelw` keeps what it fetches.
std::filesystem::path cache_folder() {
  const auto variable = [](const char* name) -> std::filesystem::path {
    const char* value = std::getenv(name);  // NOLINT(*-mt-unsafe)
    return value != nullptr ? value : "";
  };
  if (auto cache = variable("TINKEX_CACHE"); !cache.empty()) return cache;
  if (auto caches = variable("XDG_CACHE_HOME"); !caches.empty()) return caches / "tinkex";
  return variable("HOME") / ".cache" / "tinkex";
}

/// Whether a model is small and knows nothing, as those that come with tinkex; on a server, too.
bool is_small(const std::string& base_model) { return base_model.starts_with("tinkex/"); }

/// Whether a base model is one of the files on this machine.
bool is_path(const std::string& base_model) {
  std::error_code missing;
  return !is_built_in(base_model) && std::filesystem::exists(base_model, missing);
}

/// Of a --dtype that the model cannot have.
tinkex::Error no_dtype(const std::string& dtype, const std::string& base_model, bool embedded) {
  const std::string which =
      "--dtype " + dtype + " is for a model from files in this process, and " + base_model;
  if (!embedded) return invalid_argument(which + " is a server's; leave it out");
  if (is_built_in(base_model)) return invalid_argument(which + " is built in; leave it out");
  return invalid_argument(which +
                          " is no file or folder; give the path of one by --base-model, or leave "
                          "--dtype out");
}

}  // namespace

bool is_built_in(const std::string& base_model) { return local::built_in_config(base_model).ok(); }

tinkex::Error model_is_gone(const std::string& base_model) {
  return invalid_argument("the run's model is gone: there is no " + base_model +
                          "; put it back, or start anew with --out");
}

tinkex::Result<tinkex::torch_ext::ConnectOptions> connect_options(RunFolder& run,
                                                                  const Options& options) {
  tinkex::torch_ext::ConnectOptions connect;
  connect.client.base_url = run.plan.base_url;
  connect.embedded.data_dir = run.file("backend");
  connect.embedded.threads = options.threads;
  // A run goes on where its checkpoint is, whatever the environment says by now.
  if (run.resumed()) {
    connect.where = run.plan.base_url.empty() ? tinkex::torch_ext::Backend::kEmbedded
                                              : tinkex::torch_ext::Backend::kServer;
  }
  // A server has models of its own, whatever files are called like them here.
  const bool embedded =
      tinkex::torch_ext::choose_backend(connect) == tinkex::torch_ext::Backend::kEmbedded;
  if (run.plan.base_model.empty()) run.plan.base_model = embedded ? fetched_model() : kSmallModel;
  if (run.plan.base_model.empty()) run.plan.base_model = kSmallModel;
  const bool from_files = embedded && is_path(run.plan.base_model);
  if (!from_files && options.dtype && *options.dtype != kFloat32) {
    return no_dtype(*options.dtype, run.plan.base_model, embedded);
  }
  if (from_files) {
    const std::string given = run.plan.base_model;
    if (auto placed = place("--base-model", given, run.plan.base_model); !placed) {
      return placed.error();
    }
    connect.embedded.base_models = {run.plan.base_model};
    connect.embedded.weight_type = weight_type(run.plan);
  }
  return connect;
}

local::WeightType weight_type(const Plan& plan) {
  return plan.dtype == kBfloat16 ? local::WeightType::kBfloat16 : local::WeightType::kFloat32;
}

tinkex::Error about_server(tinkex::Error error, const tinkex::torch_ext::ConnectOptions& options) {
  // kInvalidArgument names the setting, and kIo is about files here. What else the embedded backend
  // lacks, memory for one, is no server's either.
  if (error.code() == tinkex::ErrorCode::kInvalidArgument ||
      error.code() == tinkex::ErrorCode::kIo ||
      tinkex::torch_ext::choose_backend(options) == tinkex::torch_ext::Backend::kEmbedded) {
    return error;
  }
  return std::move(error).with_context("cannot train on " + server_name(options.client.base_url) +
                                       " (see --base-url, TINKER_BASE_URL, TINKER_API_KEY)");
}

tinkex::Error about_new_model(tinkex::Error error, const Plan& plan, bool rank_given) {
  if (exit_code_of(error) != kUsageError) return error;
  const std::string rank = std::to_string(plan.rank);
  if (rank_given) {
    return std::move(error).with_context("--rank " + rank + " for --base-model " + plan.base_model);
  }
  return tinkex::invalid_argument("--base-model " + plan.base_model +
                                  " with the default --rank of " + rank + ": " + error.message() +
                                  "; if the rank is the reason, pass a smaller one");
}

tinkex::Error about_checkpoint(tinkex::Error error, const RunFolder& run) {
  if (!run.plan.base_url.empty()) return error;
  if (error.message().find(tinkex::torch_ext::kOtherBaseModel) != std::string::npos) {
    return std::move(error).with_context("cannot go on with " + run.plan.base_model +
                                         " (restore that model as it was when the run began, or "
                                         "start anew with --out)");
  }
  return std::move(error).with_context("cannot go on from the checkpoint in " +
                                       run.file("backend").string() +
                                       " (restore that folder, or start anew with --out)");
}

tinkex::Result<tinkex::torch_ext::Connection> open_connection(
    RunFolder& run, const tinkex::torch_ext::ConnectOptions& where) {
  auto connection = tinkex::torch_ext::connect(where);
  if (!connection) return about_server(connection.error(), where);
  if (!connection->embedded) run.plan.base_url = connection->service.options().base_url;
  return connection;
}

tinkex::Result<tinkex::TrainingClient> open_model(tinkex::ServiceClient& service,
                                                  const std::string& base_model,
                                                  const RunFolder& run, bool rank_given) {
  if (run.resumed()) {
    auto trainer = service.create_training_client_from_state(run.checkpoint()).get();
    if (!trainer) return about_checkpoint(trainer.error(), run);
    return *std::move(trainer);
  }
  auto trainer =
      service
          .create_lora_training_client(base_model, {.rank = run.plan.rank, .seed = run.plan.seed})
          .get();
  if (!trainer) return about_new_model(trainer.error(), run.plan, rank_given);
  return *std::move(trainer);
}

namespace {

/// Of a model that the backend does not have.
tinkex::Error unknown_model(const RunFolder& run, const std::vector<SupportedModel>& models) {
  const std::string& model = run.plan.base_model;
  const std::string others = "; choose one of: " + names_of(models);
  if (!run.plan.base_url.empty() && is_path(model)) {
    return invalid_argument("--base-model " + model + ": " + server_name(run.plan.base_url) +
                            " does not serve it" + others +
                            "; to train it in this process, unset TINKER_BASE_URL and "
                            "TINKER_API_KEY, and leave --base-url out; or start local_server with "
                            "it");
  }
  const bool named_like_a_file = model.find_first_of("/.") == 0 || model.ends_with(".gguf");
  if (named_like_a_file && run.resumed()) return model_is_gone(model);
  return invalid_argument(
      "--base-model " + model + (named_like_a_file ? ": is no file or folder, and" : ":") +
      " is unknown here" + others + "; or give the path of a folder or a GGUF file");
}

}  // namespace

tinkex::Result<KnownModel> find_model(tinkex::ServiceClient& service, const RunFolder& run) {
  const std::string& base_model = run.plan.base_model;
  const auto models = service.get_supported_models().get();
  if (!models) {
    if (models.error().http_status() == 404) return KnownModel{base_model, kUnlimited};
    return models.error();
  }
  const auto called = [&](const std::string& name) {
    return std::find_if(models->begin(), models->end(),
                        [&](const SupportedModel& each) { return each.model_name == name; });
  };
  auto found = called(base_model);
  if (found == models->end() && is_path(base_model))
    found = called(local::model_name_of(base_model));
  if (found != models->end()) {
    return KnownModel{found->model_name, found->max_context_length.value_or(kUnlimited)};
  }
  if (models->empty()) return KnownModel{base_model, kUnlimited};
  return unknown_model(run, *models);
}

tinkex::Result<std::shared_ptr<const tinkex::Tokenizer>> open_tokenizer(
    const tinkex::ModelInfo& info, const Plan& plan) {
  using TokenizerPtr = std::shared_ptr<const tinkex::Tokenizer>;
  const std::string id = plan.tokenizer.empty() ? info.tokenizer_id : plan.tokenizer;
  if (plan.tokenizer == kBytes || id == tinkex::ByteTokenizer::kId) {
    return TokenizerPtr(std::make_shared<tinkex::ByteTokenizer>());
  }
  std::error_code missing;
  if (plan.tokenizer.empty() && !std::filesystem::exists(id, missing)) {
    const std::string tokens = id.empty() ? "an unknown tokenizer" : "the tokenizer " + id;
    return invalid_argument("model " + info.model_name + " uses " + tokens +
                            ", which is not on this machine; give its tokenizer.json by "
                            "--tokenizer (or --tokenizer bytes to send bytes as its token ids all "
                            "the same)");
  }
  auto tokenizer = tinkex::torch_ext::load_tokenizer(id);
  if (!tokenizer) return std::move(tokenizer).error().with_context("tokenizer");
  if ((*tokenizer)->eos_token() < 0) {
    return invalid_argument("tokenizer " + id +
                            ": does not tell which token ends a text; give, by --tokenizer, a "
                            "model's folder or a tokenizer.json beside its tokenizer_config.json");
  }
  return tokenizer;
}

std::string fetched_model() {
  const std::filesystem::path file = cache_folder() / kFetchedModel;
  std::error_code missing;
  return std::filesystem::exists(file, missing) ? file.string() : std::string();
}

void choose_defaults(Plan& plan) {
  const bool small = is_small(plan.base_model);
  if (plan.steps == 0) plan.steps = small ? 1000 : 60;
  if (plan.batch_size == 0) plan.batch_size = small ? 64 : 8;
  if (plan.learning_rate == 0) plan.learning_rate = small ? 5e-3 : 5e-4;
}

tinkex::Result<std::unique_ptr<Task>> open_task(const Plan& plan) {
  if (plan.data.empty()) {
    return is_small(plan.base_model) ? pig_latin_task(plan.seed) : orders_task(plan.seed);
  }
  auto examples = read_examples(plan.data);
  if (!examples) return examples.error();
  return file_task(plan.data, *std::move(examples), plan.seed);
}

std::string about_data(RunFolder& run, const Task& task) {
  const std::string before = std::exchange(run.plan.data_digest, task.digest());
  if (!run.resumed() || before.empty() || before == run.plan.data_digest) return "";
  return "its examples are not those of the run until now: the file was changed since";
}

void use_threads(int threads) {
  if (threads > 0) at::set_num_threads(threads);
}

}  // namespace sft
