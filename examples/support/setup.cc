#include "examples/support/setup.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "examples/support/server_name.h"
#include "tinkex/tokenizer.h"
#include "torch_ext/load_tokenizer.h"

namespace sft {
namespace {

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

/// What a backend calls a model that it has from a path; empty for what is no path.
std::string name_of_path(const std::filesystem::path& path) {
  std::error_code problem;
  if (!std::filesystem::exists(path, problem)) return "";
  const bool folder = std::filesystem::is_directory(path, problem);
  return (folder ? path.filename() : path.stem()).string();
}

}  // namespace

tinkex::torch_ext::ConnectOptions connect_options(const RunFolder& run, const Options& options) {
  tinkex::torch_ext::ConnectOptions connect;
  connect.client.base_url = run.plan.base_url;
  connect.embedded.data_dir = run.file("backend");
  connect.embedded.threads = options.threads;
  std::error_code missing;
  if (std::filesystem::exists(run.plan.base_model, missing)) {
    connect.embedded.base_models = {run.plan.base_model};
  }
  // A run goes on where its checkpoint is, whatever the environment says by now.
  if (run.resumed()) {
    connect.where = run.plan.base_url.empty() ? tinkex::torch_ext::Backend::kEmbedded
                                              : tinkex::torch_ext::Backend::kServer;
  }
  return connect;
}

tinkex::Error about_server(tinkex::Error error, const tinkex::torch_ext::ConnectOptions& options) {
  // kInvalidArgument names the setting, and kIo is the embedded backend's: its folder cannot be
  // used.
  if (error.code() == tinkex::ErrorCode::kInvalidArgument ||
      error.code() == tinkex::ErrorCode::kIo) {
    return error;
  }
  return std::move(error).with_context("cannot train on " + server_name(options.client.base_url) +
                                       " (see --base-url, TINKER_BASE_URL, TINKER_API_KEY)");
}

tinkex::Error about_checkpoint(tinkex::Error error, const RunFolder& run) {
  if (!run.plan.base_url.empty()) return error;
  return std::move(error).with_context("cannot go on from the checkpoint in " +
                                       run.file("backend").string() +
                                       " (restore that folder, or start anew with --out)");
}

tinkex::Result<std::int64_t> context_length(tinkex::ServiceClient& service,
                                            const std::string& base_model) {
  const std::string name = name_of_path(base_model);
  const auto models = service.get_supported_models().get();
  if (!models) {
    if (models.error().http_status() == 404) return kUnlimited;  // It does not tell.
    return models.error();
  }
  const auto found = std::find_if(models->begin(), models->end(), [&](const SupportedModel& model) {
    return model.model_name == base_model || model.model_name == name;
  });
  if (found != models->end()) return found->max_context_length.value_or(kUnlimited);
  if (models->empty()) return kUnlimited;
  return invalid_argument("--base-model " + base_model +
                          ": is unknown here; choose one of: " + names_of(*models));
}

tinkex::Result<std::shared_ptr<const tinkex::Tokenizer>> open_tokenizer(
    const tinkex::ModelInfo& info, const Plan& plan) {
  using TokenizerPtr = std::shared_ptr<const tinkex::Tokenizer>;
  if (plan.tokenizer == "bytes" ||
      (plan.tokenizer.empty() && info.tokenizer_id == tinkex::ByteTokenizer::kId)) {
    return TokenizerPtr(std::make_shared<tinkex::ByteTokenizer>());
  }
  if (!plan.tokenizer.empty()) {
    auto tokenizer = tinkex::torch_ext::load_tokenizer(plan.tokenizer);
    if (!tokenizer) return std::move(tokenizer).error().with_context("--tokenizer");
    if ((*tokenizer)->eos_token() < 0) {
      return invalid_argument("--tokenizer " + plan.tokenizer +
                              ": does not tell which token ends a text; give the model's folder");
    }
    return tokenizer;
  }
  std::error_code missing;
  if (std::filesystem::exists(info.tokenizer_id, missing)) {
    return tinkex::torch_ext::load_tokenizer(info.tokenizer_id);
  }
  const std::string tokens =
      info.tokenizer_id.empty() ? "an unknown tokenizer" : "the tokenizer " + info.tokenizer_id;
  return invalid_argument("model " + info.model_name + " uses " + tokens +
                          ", which is not on this machine; give its tokenizer.json by --tokenizer "
                          "(or --tokenizer bytes to send bytes as its token ids all the same)");
}

double default_learning_rate(const std::string& base_model) {
  return base_model.starts_with("tinkex/") ? 5e-3 : 1e-4;
}

void use_threads(int threads) {
  if (threads > 0) at::set_num_threads(threads);
}

}  // namespace sft
