#include <torch/types.h>

#include <iostream>

#include "tinkex/tokenizer.h"
#include "torch_ext/connect.h"
#include "torch_ext/datum_convert.h"

int main() try {
  std::cout.precision(3);
  auto connection = tinkex::torch_ext::connect().value();  // a server, or a backend in this process
  auto& service = connection.service;
  auto model =
      service.create_lora_training_client("tinkex/tiny", {.rank = 8, .seed = 1}).get().value();

  tinkex::ByteTokenizer tokenizer;
  const torch::Tensor text =
      torch::tensor(tokenizer.encode("to be or not to be, that is the question"));
  const std::vector<torch::Tensor> inputs{text.slice(0, 0, -1)}, targets{text.slice(0, 1)};
  const auto batch = tinkex::torch_ext::borrow_datums(inputs, {{"target_tokens", targets}}).value();

  for (int step = 1; step <= 50; ++step) {
    auto pass = model.forward_backward(batch, tinkex::loss::kCrossEntropy);  // neither call waits
    auto update = model.optim_step({.learning_rate = 4e-3});                 // for the server
    if (step % 10 == 0) std::cout << "loss " << pass.get().value().metrics.at("loss:sum") << "\n";
    update.get().value();
  }
  auto sampler = model.save_weights_and_get_sampling_client().get().value();
  auto prompt = tinkex::ModelInput::from_tokens(tokenizer.encode("to be or "));
  auto sampled = sampler.sample(prompt, 1, {.max_tokens = 31, .temperature = 0}).get().value();
  const auto& tokens = sampled.sequences.at(0).tokens;
  std::cout << tokenizer.decode(std::vector<std::int64_t>(tokens.begin(), tokens.end())) << "\n";
} catch (const tinkex::Error& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
