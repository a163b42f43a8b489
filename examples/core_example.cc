// The program of docs/service_client.md: trains and samples without LibTorch, on the server of
// TINKER_BASE_URL, and handles every error as a value. It learns the days of the week byte by byte,
// so its model has to read bytes, as local_server's own two do. The first argument names another
// model than the server's first one.

#include <chrono>
#include <cstdint>
#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tinkex/service_client.h"
#include "tinkex/tokenizer.h"

namespace {

using namespace std::chrono_literals;

tinkex::Datum make_example(const std::string& text) {
  const std::vector<std::int64_t> tokens = tinkex::ByteTokenizer().encode(text);
  const std::vector<std::int64_t> inputs(tokens.begin(), tokens.end() - 1);
  const std::vector<std::int64_t> targets(tokens.begin() + 1, tokens.end());
  tinkex::Datum datum;
  datum.model_input = tinkex::ModelInput::from_tokens(inputs);
  datum.loss_fn_inputs = {{"target_tokens", tinkex::TensorData::from(targets)}};
  return datum;
}

tinkex::Status train(tinkex::TrainingClient model, std::span<const tinkex::Datum> batch) {
  for (int step = 1; step <= 40; ++step) {
    auto pass = model.forward_backward(batch, tinkex::loss::kCrossEntropy);
    auto update = model.optim_step({.learning_rate = 1e-2});
    const auto& output = pass.get();
    if (!output.ok()) return output.error();
    const auto loss = output->metrics.find("loss:sum");
    if (loss == output->metrics.end()) {
      return tinkex::Error(tinkex::ErrorCode::kDecode, "the server tells no metric loss:sum");
    }
    if (step % 10 == 0) std::cout << "loss " << loss->second << "\n";
    if (!update.get().ok()) return update.get().error();
  }
  return tinkex::ok_status();
}

tinkex::Result<std::string> complete(tinkex::SamplingClient sampler, const std::string& prompt) {
  const tinkex::ByteTokenizer tokenizer;
  auto sampled = sampler
                     .sample(tinkex::ModelInput::from_tokens(tokenizer.encode(prompt)), 1,
                             {.max_tokens = 9, .temperature = 0})
                     .get();
  if (!sampled.ok()) return std::move(sampled).error();
  if (sampled->sequences.empty()) {
    return tinkex::Error(tinkex::ErrorCode::kDecode, "the server gave no sequence");
  }
  const std::vector<std::int32_t>& tokens = sampled->sequences.front().tokens;
  return tokenizer.decode(std::vector<std::int64_t>(tokens.begin(), tokens.end()));
}

/// The name that the user gave, or that of the server's first model.
tinkex::Result<std::string> choose_model(tinkex::ServiceClient service, const std::string& named) {
  if (!named.empty()) return named;
  const auto models = service.get_supported_models().get();
  if (!models.ok()) return models.error();
  if (models->empty()) return tinkex::invalid_argument("the server offers no model");
  return models->front().model_name;
}

tinkex::Status expect_bytes(const tinkex::ModelInfo& model) {
  if (model.tokenizer_id == tinkex::ByteTokenizer::kId) return tinkex::ok_status();
  return tinkex::invalid_argument(model.model_name + ": expected a model whose tokenizer is " +
                                  tinkex::ByteTokenizer::kId + ", got '" + model.tokenizer_id +
                                  "'; name another one, such as tinkex/tiny, as the argument");
}

tinkex::Status run(const std::string& named) {
  tinkex::ClientOptions options;  // what is left empty comes from the environment
  options.tags = {"days-of-the-week"};
  options.default_deadline = 5min;

  auto connected = tinkex::ServiceClient::connect(options);
  if (!connected.ok()) return connected.error();
  tinkex::ServiceClient service = *connected;

  const auto name = choose_model(service, named);
  if (!name.ok()) return name.error();

  auto created = service.create_lora_training_client(*name, {.rank = 8, .seed = 1}).get();
  if (!created.ok()) return created.error();
  tinkex::TrainingClient model = *created;
  if (auto readable = expect_bytes(model.info()); !readable.ok()) return readable.error();
  std::cout << "training " << model.info().model_name << " as " << model.model_id() << "\n";

  const std::vector<tinkex::Datum> batch{make_example("monday tuesday wednesday"),
                                         make_example("thursday friday saturday")};
  if (auto trained = train(model, batch); !trained.ok()) return trained.error();

  const auto saved = model.save_weights_for_sampler("days").get();
  if (!saved.ok()) return saved.error();
  auto sampler = service.create_sampling_client(std::nullopt, saved->path).get();
  if (!sampler.ok()) return sampler.error();
  const auto text = complete(*sampler, "monday tuesday ");
  if (!text.ok()) return text.error();
  std::cout << *text << "\n";

  service.close();
  return tinkex::ok_status();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string named = argc > 1 ? argv[1] : "";
  if (argc > 2 || named.starts_with('-')) {
    const bool asked = argc == 2 && named == "--help";
    (asked ? std::cout : std::cerr) << "usage: core_example [MODEL]\n";
    return asked ? 0 : 2;
  }
  const tinkex::Status done = run(named);
  if (done.ok()) return 0;
  std::cerr << done.error().what() << "\n";
  return 1;
}
