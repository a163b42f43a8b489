#include "torch_ext/remote/explain.h"

#include <ATen/ops/zeros.h>

#include "tinkex/validate.h"
#include "torch_ext/remote/sequences.h"

namespace tinkex::torch_ext::remote {
namespace {

Explanation explain(const Explained& how, const Sequences& sequences) {
  Explanation explanation;
  explanation.passes.push_back({"forward, by forward()", plan_batch(sequences.data(), how.limits)});
  if (!how.train) return explanation;
  std::vector<Datum> weighted;
  std::vector<at::Tensor> keep;
  sequences.append_weighted(at::zeros(sequences.result_shape(), at::kFloat), weighted, keep)
      .value();
  explanation.passes.push_back(
      {"forward_backward, by backward()", plan_batch(weighted, how.limits)});
  return explanation;
}

}  // namespace

Explanation explain_padded(const Explained& how, const at::Tensor& tokens,
                           const at::Tensor& targets) {
  return explain(how, Sequences::from_padded(tokens, targets).value());
}

Explanation explain_lists(const Explained& how, const std::vector<at::Tensor>& tokens,
                          const std::vector<at::Tensor>& targets) {
  return explain(how, Sequences::from_lists(tokens, targets).value());
}

Explanation explain_loss(const Explained& how, std::span<const Datum> data,
                         const std::string& loss_fn) {
  ProblemList found = find_problems(data, loss_fn);
  // The loss's settings are not given here, so none can be missing.
  found.count -= std::erase_if(
      found.problems, [](const Problem& each) { return each.field.starts_with("loss_fn_config"); });
  found.status().value();
  const std::string call = how.train ? "forward_backward" : "forward";
  return {{{call + " with " + loss_fn + ", by loss()", plan_batch(data, how.limits)}}};
}

}  // namespace tinkex::torch_ext::remote
