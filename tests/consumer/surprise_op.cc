// An op library of its own: torch.ops.stranger.surprise(tokens, base_model) says how unexpected
// each token is to a model, by asking the model through tinkex.

#include <torch/library.h>
#include <torch/types.h>

#include <string>
#include <vector>

#include "torch_ext/connect.h"
#include "torch_ext/datum_convert.h"
#include "torch_ext/error_bridge.h"

namespace {

using tinkex::torch_ext::value_or_throw;

/// `tokens` is 1-D with N >= 2 elements; the result is float32 [N - 1], in nats.
torch::Tensor surprise(const torch::Tensor& tokens, const std::string& base_model) {
  const auto prompt = value_or_throw(tinkex::torch_ext::borrow_prompt(tokens, "tokens"));
  auto connection = value_or_throw(tinkex::torch_ext::connect());
  auto sampler =
      value_or_throw(connection.service.create_sampling_client(base_model, std::nullopt).get());
  const std::vector<float> logprobs = value_or_throw(sampler.compute_logprobs(prompt).get());
  return torch::tensor(logprobs).slice(0, 1).neg();  // The first token has nothing before it.
}

}  // namespace

TORCH_LIBRARY(stranger, library) {
  library.def("surprise(Tensor tokens, str base_model) -> Tensor");
}

// The CPU's kernel only: what traces a program with fake tensors must not ask a model.
TORCH_LIBRARY_IMPL(stranger, CPU, library) { library.impl("surprise", surprise); }
