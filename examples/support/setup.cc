#include "examples/support/setup.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "examples/support/server_name.h"
#include "tinkex/tokenizer.h"

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

}  // namespace

tinkex::torch_ext::ConnectOptions connect_options(const RunFolder& run, const Options& options) {
  tinkex::torch_ext::ConnectOptions connect;
  connect.client.base_url = run.plan.base_url;
  connect.embedded.data_dir = run.file("backend");
  connect.embedded.threads = options.threads;
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
  const auto models = service.get_supported_models().get();
  if (!models) {
    if (models.error().http_status() == 404) return kUnlimited;  // It does not tell.
    return models.error();
  }
  const auto found = std::find_if(models->begin(), models->end(), [&](const SupportedModel& model) {
    return model.model_name == base_model;
  });
  if (found != models->end()) return found->max_context_length.value_or(kUnlimited);
  if (models->empty()) return kUnlimited;
  return invalid_argument("--base-model " + base_model +
                          ": is unknown here; choose one of: " + names_of(*models));
}

tinkex::Status check_tokenizer(const tinkex::ModelInfo& info, const Options& options) {
  if (info.tokenizer_id == tinkex::ByteTokenizer::kId || options.tokenizer == "bytes") {
    return tinkex::ok_status();
  }
  const std::string tokens =
      info.tokenizer_id.empty() ? "an unknown tokenizer" : "the tokenizer " + info.tokenizer_id;
  return invalid_argument("model " + info.model_name + " uses " + tokens +
                          ", but this program turns text into bytes (" +
                          tinkex::ByteTokenizer::kId +
                          "); give --tokenizer bytes to send them as its token ids all the same");
}

double default_learning_rate(const std::string& base_model) {
  return base_model.starts_with("tinkex/") ? 5e-3 : 1e-4;
}

void use_threads(int threads) {
  if (threads > 0) at::set_num_threads(threads);
}

}  // namespace sft
