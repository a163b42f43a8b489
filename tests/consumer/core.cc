// Trains without LibTorch, on the server of TINKER_BASE_URL; fails unless the loss falls.

#include <cstdint>
#include <iostream>
#include <optional>
#include <vector>

#include "tinkex/service_client.h"
#include "tinkex/tokenizer.h"

namespace {

tinkex::Datum make_example(const char* text) {
  const std::vector<std::int64_t> tokens = tinkex::ByteTokenizer().encode(text);
  tinkex::Datum datum;
  datum.model_input = tinkex::ModelInput::from_tokens({tokens.begin(), tokens.end() - 1});
  const std::vector<std::int64_t> targets(tokens.begin() + 1, tokens.end());
  datum.loss_fn_inputs = {{"target_tokens", tinkex::TensorData::from(targets)}};
  return datum;
}

/// One step of training; gives the loss before it.
double step(tinkex::TrainingClient& model, const std::vector<tinkex::Datum>& batch) {
  auto pass = model.forward_backward(batch, tinkex::loss::kCrossEntropy);
  auto update = model.optim_step({.learning_rate = 1e-2});
  update.get().value();
  return pass.get().value().metrics.at("loss:sum");
}

}  // namespace

int main() try {
  auto service = tinkex::ServiceClient::connect().value();
  auto model =
      service.create_lora_training_client("tinkex/nano", {.rank = 4, .seed = 1}).get().value();
  const std::vector<tinkex::Datum> batch{make_example("a stranger uses tinkex")};

  const double before = step(model, batch);
  double after = before;
  for (int i = 0; i < 20; ++i) after = step(model, batch);

  std::cout << "loss " << before << " -> " << after << "\n";
  return after < before / 2 ? 0 : 1;
} catch (const tinkex::Error& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
