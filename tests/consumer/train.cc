// Trains on LibTorch's tensors with the embedded backend; fails unless the loss falls.

#include <torch/types.h>

#include <iostream>
#include <vector>

#include "tinkex/tokenizer.h"
#include "torch_ext/connect.h"
#include "torch_ext/datum_convert.h"

int main() try {
  auto connection =
      tinkex::torch_ext::connect({.where = tinkex::torch_ext::Backend::kEmbedded}).value();
  auto model = connection.service.create_lora_training_client("tinkex/nano", {.rank = 4, .seed = 1})
                   .get()
                   .value();

  const torch::Tensor text =
      torch::tensor(tinkex::ByteTokenizer().encode("a stranger trains with tinkex"));
  const std::vector<torch::Tensor> inputs{text.slice(0, 0, -1)}, targets{text.slice(0, 1)};
  const auto batch = tinkex::torch_ext::borrow_datums(inputs, {{"target_tokens", targets}}).value();

  double before = 0, after = 0;
  for (int step = 0; step <= 20; ++step) {
    auto pass = model.forward_backward(batch, tinkex::loss::kCrossEntropy);
    auto update = model.optim_step({.learning_rate = 1e-2});
    after = pass.get().value().metrics.at("loss:sum");
    if (step == 0) before = after;
    update.get().value();
  }

  std::cout << "loss " << before << " -> " << after << "\n";
  return after < before / 2 ? 0 : 1;
} catch (const tinkex::Error& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
