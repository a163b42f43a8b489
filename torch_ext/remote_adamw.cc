#include "torch_ext/remote_adamw.h"

#include <string>
#include <utility>

#include "torch_ext/remote/training_state.h"

namespace tinkex::torch_ext {
namespace {

Error state_on_server(const char* what) {
  return invalid_argument(std::string(what) +
                          ": the state of RemoteAdamW is on the model's server. "
                          "model->client().save_state(name) saves it there with the weights");
}

AdamParams params_of(const RemoteAdamWOptions& options) {
  return {.learning_rate = options.lr(),
          .beta1 = std::get<0>(options.betas()),
          .beta2 = std::get<1>(options.betas()),
          .eps = options.eps(),
          .weight_decay = options.weight_decay(),
          .grad_clip_norm = options.grad_clip_norm()};
}

}  // namespace

RemoteAdamWOptions::RemoteAdamWOptions(double lr) : lr_(lr) {}

RemoteAdamWOptions::RemoteAdamWOptions(const torch::optim::AdamWOptions& options)
    : lr_(options.lr()),
      betas_(options.betas()),
      eps_(options.eps()),
      weight_decay_(options.weight_decay()) {
  if (options.amsgrad()) {
    throw invalid_argument(
        "AdamWOptions::amsgrad is true, expected false: the API has AdamW without it");
  }
}

RemoteAdamW::RemoteAdamW(const RemoteModel& model, RemoteAdamWOptions options)
    : Optimizer({torch::optim::OptimizerParamGroup({model->state()->anchor()})},
                std::make_unique<RemoteAdamWOptions>(std::move(options))),
      state_(model->state()) {}

RemoteAdamWOptions& RemoteAdamW::only_group() {
  std::size_t parameters = 0;
  for (const auto& group : param_groups()) parameters += group.params().size();
  auto* options = param_groups().empty()
                      ? nullptr
                      : dynamic_cast<RemoteAdamWOptions*>(&param_groups().front().options());
  if (options == nullptr || parameters != 1 ||
      !param_groups().front().params().front().is_same(state_->anchor())) {
    throw invalid_argument(
        "RemoteAdamW has " + std::to_string(parameters) +
        " parameters, expected the one of its model, with RemoteAdamWOptions: give local "
        "parameters to an optimizer of LibTorch's");
  }
  return *options;
}

Future<OptimStepResponse> RemoteAdamW::step_async() {
  return state_->step_async(params_of(only_group()));
}

torch::Tensor RemoteAdamW::step(LossClosure closure) {
  torch::Tensor loss;
  if (closure) {
    const at::AutoGradMode enable_grad(true);
    loss = closure();
  }
  if (auto response = state_->step(params_of(only_group()))) {
    metrics_ = std::move(response->metrics);
  }
  return loss;
}

void RemoteAdamW::save(torch::serialize::OutputArchive& /*archive*/) const {
  throw state_on_server("torch::save of RemoteAdamW");
}
void RemoteAdamW::load(torch::serialize::InputArchive& /*archive*/) {
  throw state_on_server("torch::load of RemoteAdamW");
}

}  // namespace tinkex::torch_ext
