// The snippets of docs/embedded_backend.md on losses of your own, as a test that trains.

#include <gtest/gtest.h>
#include <torch/script.h>

#include <string>
#include <utility>
#include <vector>

#include "tinkex/tokenizer.h"
#include "torch_ext/connect.h"
#include "torch_ext/logits_loss.h"

namespace {

/// Cross entropy, less a bonus for distributions that stay wide.
at::Tensor wide(const at::Tensor& logits, const tinkex::torch_ext::LossInputs& inputs) {
  const at::Tensor logprobs = at::log_softmax(logits, -1);
  const at::Tensor entropy = -(logprobs.exp() * logprobs).sum(-1);
  const at::Tensor targets = inputs["target_tokens"].unsqueeze(1);
  return -(logprobs.gather(1, targets).squeeze(1) + 0.1 * entropy).sum();
}

/// What torch.jit.script(loss).save(path) leaves behind in Python.
std::string saved_module() {
  torch::jit::Module module("loss");
  module.define(R"(
def forward(self, logits, inputs: Dict[str, Tensor], bonus: float):
    logprobs = torch.log_softmax(logits, -1)
    entropy = -(logprobs.exp() * logprobs).sum(-1)
    targets = inputs["target_tokens"].unsqueeze(1)
    return -(logprobs.gather(1, targets).squeeze(1) + bonus * entropy).sum()
)");
  std::string path = testing::TempDir() + "/loss.pt";
  module.save(path);
  return path;
}

std::vector<tinkex::Datum> batch() {
  const std::vector<std::int64_t> tokens = tinkex::ByteTokenizer().encode("good morning");
  tinkex::Datum datum;
  datum.model_input = tinkex::ModelInput::from_tokens({tokens.begin(), tokens.end() - 1});
  datum.loss_fn_inputs = {{"target_tokens", tinkex::TensorData::from(std::vector<std::int64_t>(
                                                tokens.begin() + 1, tokens.end()))}};
  return {datum};
}

TEST(LogitsLossExample, AFunctionAndAModuleTrainUnderTheirNames) {
  const std::string path = saved_module();
  const std::vector<tinkex::Datum> data = batch();

  tinkex::torch_ext::ConnectOptions options;
  options.embedded.losses["wide"] = wide;
  options.embedded.losses["scripted"] =
      tinkex::torch_ext::module_loss(torch::jit::load(path)).value();
  auto connection = tinkex::torch_ext::connect(options).value();
  auto model = connection.service.create_lora_training_client("tinkex/nano", {.rank = 4, .seed = 1})
                   .get()
                   .value();

  auto pass = model.forward_backward(data, "wide");
  auto scripted = model.forward_backward(data, "scripted", {{"bonus", 0.1}});
  auto update = model.optim_step({.learning_rate = 1e-2});

  const double before = pass.get().value().metrics.at("loss:sum");
  EXPECT_NEAR(scripted.get().value().metrics.at("loss:sum"), before, 1e-3);
  ASSERT_TRUE(update.get().ok());
  EXPECT_LT(model.forward(data, "wide").get().value().metrics.at("loss:sum"), before);
}

}  // namespace
