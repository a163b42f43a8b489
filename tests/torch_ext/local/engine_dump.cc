// Trains and samples on one model and writes what compare_transformers.py compares with Hugging
// Face's libraries: two checkpoints, which PEFT reads, and result.json.
//
//     engine_dump MODEL OUT_FOLDER [float32|bfloat16]

#include <ATen/Parallel.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "torch_ext/local/pretrained.h"
#include "torch_ext/local/sampler.h"
#include "torch_ext/local/training_run.h"

namespace tinkex::torch_ext::local {
namespace {

constexpr char kText[] =
    "The quick brown fox jumps over the lazy dog. In 1969 people first walked on the moon, and "
    "everyone who had a television set watched them do it. What would you have asked them?";
/// As compare_transformers.py has it. The eps is large, because AdamW makes whole steps of rounding
/// errors where a gradient is nearly 0.
const AdamParams kAdam{
    .learning_rate = 3e-4, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-3, .weight_decay = 0.1};
constexpr int kWarmUp = 3;  ///< Steps that make B other than zero.
constexpr int kSteps = 10;

std::vector<std::int64_t> all_but_last(const std::vector<std::int64_t>& tokens) {
  return {tokens.begin(), tokens.end() - 1};
}

Datum datum_of(const std::vector<std::int64_t>& tokens) {
  Datum datum;
  datum.model_input = ModelInput::from_tokens(all_but_last(tokens));
  std::vector<std::int64_t> targets(tokens.begin() + 1, tokens.end());
  datum.loss_fn_inputs.emplace_back("target_tokens", TensorData::from(std::move(targets)));
  return datum;
}

std::vector<float> logprobs_of(const ForwardBackwardOutput& output) {
  return find(output.loss_fn_outputs.at(0), "logprobs")->to_floats();
}

double train_step(TrainingRun& run, const Datum& datum) {
  const auto output = run.forward_backward({&datum, 1}, loss::kCrossEntropy, {}, false).value();
  (void)run.optim_step(kAdam).value();
  return output.metrics.at("loss:sum");
}

nlohmann::json sampled(const std::shared_ptr<const BaseModel>& model, const TrainingRun& run,
                       const std::vector<std::int64_t>& tokens) {
  SampleRequest request;
  request.prompt =
      ModelInput::from_tokens(std::vector<std::int64_t>(tokens.begin(), tokens.begin() + 8));
  request.params.max_tokens = 48;
  request.params.temperature = 0;
  request.params.stop.emplace();
  const SampleResponse response = sample(model, run.snapshot(), request, nullptr).value();
  return {{"prompt", request.prompt.text_tokens()},
          {"tokens", response.sequences.at(0).tokens},
          {"logprobs", response.sequences.at(0).logprobs}};
}

/// The sampler's own words, scored by the trainer.
std::vector<float> rescored(TrainingRun& run, const nlohmann::json& sample) {
  auto all = sample.at("prompt").get<std::vector<std::int64_t>>();
  const std::size_t prompt = all.size();
  for (const std::int64_t token : sample.at("tokens")) all.push_back(token);
  const Datum datum = datum_of(all);
  const std::vector<float> scores =
      logprobs_of(run.forward_backward({&datum, 1}, loss::kCrossEntropy, {}, true).value());
  return {scores.begin() + static_cast<std::ptrdiff_t>(prompt) - 1, scores.end()};
}

void dump(const std::filesystem::path& path, const std::filesystem::path& out,
          at::ScalarType dtype) {
  std::filesystem::create_directories(out);
  const auto model = load_pretrained(path, dtype).value();
  const std::vector<std::int64_t> tokens = model->tokenizer().encode(kText);
  const Datum datum = datum_of(tokens);
  const auto run = TrainingRun::create(model, {.rank = 8, .seed = 1}).value();
  for (int i = 0; i < kWarmUp; ++i) train_step(*run, datum);
  run->save(out / "start", /*overwrite=*/true).value();
  nlohmann::json result{{"tokens", tokens}};
  result["logprobs"] =
      logprobs_of(run->forward_backward({&datum, 1}, loss::kCrossEntropy, {}, true).value());
  result["sample"] = sampled(model, *run, tokens);
  result["rescored"] = rescored(*run, result["sample"]);
  // Fresh moments, as the optimizer of the comparison has them.
  run->load(out / "start", /*with_optimizer=*/false).value();
  for (int i = 0; i < kSteps; ++i) result["losses"].push_back(train_step(*run, datum));
  run->save(out / "trained", /*overwrite=*/true).value();
  std::ofstream(out / "result.json") << result.dump() << "\n";
}

}  // namespace
}  // namespace tinkex::torch_ext::local

int main(int argc, char** argv) {
  const std::string dtype = argc > 3 ? argv[3] : "float32";
  if (argc < 3 || (dtype != "float32" && dtype != "bfloat16")) {
    std::cerr << "usage: engine_dump MODEL OUT_FOLDER [float32|bfloat16]\n";
    return 2;
  }
  at::init_num_threads();
  try {
    tinkex::torch_ext::local::dump(
        argv[1], argv[2], dtype == "bfloat16" ? at::ScalarType::BFloat16 : at::ScalarType::Float);
  } catch (const std::exception& error) {
    std::cerr << "engine_dump: " << error.what() << "\n";
    return 1;
  }
}
