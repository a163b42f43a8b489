#include "torch_ext/remote/model_calls.h"

#include <ATen/ops/scalar_tensor.h>

#include <cstdint>
#include <utility>

#include "torch_ext/remote/graph.h"
#include "torch_ext/remote/sequences.h"

namespace tinkex::torch_ext::remote {
namespace {

ForwardBackwardOutput forward_of(const StatePtr& state, const Sequences& sequences) {
  try {
    return state->forward(sequences.data(), loss::kCrossEntropy, {});
  } catch (const Error& error) {
    if (error.category() != ErrorCategory::kUser) throw;
    throw sequences.in_the_callers_terms(error);
  }
}

at::Tensor logprobs_of(const StatePtr& state, Sequences sequences) {
  // Before it is sent: a step that another thread sends meanwhile may come first.
  const std::int64_t steps = state->ledger().steps();
  const at::Tensor logprobs = sequences.logprobs(forward_of(state, sequences)).value();
  if (!wants_gradient(*state)) return logprobs;
  return with_remote_gradient(logprobs, std::make_shared<const Sequences>(std::move(sequences)),
                              state, steps);
}

at::Tensor value_of(const ForwardBackwardOutput& output, const std::string& loss_fn) {
  const auto found = output.metrics.find("loss:sum");
  if (found == output.metrics.end()) {
    throw Error(ErrorCode::kDecode,
                "the server gave no metric loss:sum for the loss '" + loss_fn +
                    "'. Its gradient, if one was asked for, is summed: accept_server_gradient() "
                    "applies it; forward_backward() gives what the server sends");
  }
  return at::scalar_tensor(found->second, at::kFloat);
}

}  // namespace

at::Tensor padded_logprobs(const StatePtr& state, const at::Tensor& tokens,
                           const at::Tensor& targets) {
  return logprobs_of(state, Sequences::from_padded(tokens, targets).value()).to(targets.device());
}

std::vector<at::Tensor> list_logprobs(const StatePtr& state, const std::vector<at::Tensor>& tokens,
                                      const std::vector<at::Tensor>& targets) {
  Sequences sequences = Sequences::from_lists(tokens, targets).value();
  const at::Tensor flat = logprobs_of(state, std::move(sequences)).to(targets.front().device());
  std::vector<at::Tensor> slices;
  slices.reserve(targets.size());
  std::int64_t offset = 0;
  for (const at::Tensor& target : targets) {
    slices.push_back(flat.narrow(0, offset, target.numel()).view(target.sizes()));
    offset += target.numel();
  }
  return slices;
}

at::Tensor loss_of(const StatePtr& state, std::span<const Datum> data, const std::string& loss_fn,
                   const LossConfig& config) {
  if (!wants_gradient(*state)) return value_of(state->forward(data, loss_fn, config), loss_fn);
  const auto [output, ticket] = state->loss(data, loss_fn, config);
  return with_summed_gradient(value_of(output, loss_fn), state, ticket);
}

}  // namespace tinkex::torch_ext::remote
