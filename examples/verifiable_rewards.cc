// Reinforcement learning with a reward that a program can check: sample, compare the samples of a
// prompt with each other, train on what was better. Here a sample is good if it is made of vowels.
// `./bazelw run //examples:verifiable_rewards`; TINKER_BASE_URL and TINKER_API_KEY choose a server.

#include <torch/types.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "examples/support/no_options.h"
#include "tinkex/tokenizer.h"
#include "torch_ext/connect.h"
#include "torch_ext/remote_adamw.h"
#include "torch_ext/remote_model.h"

namespace {

using tinkex::SampledSequence;

/// The share of vowels among the bytes of a sample.
double reward(const SampledSequence& sample) {
  const std::string vowels = "aeiou";
  const auto good = std::count_if(sample.tokens.begin(), sample.tokens.end(), [&](int token) {
    return token < 256 && vowels.find(static_cast<char>(token)) != std::string::npos;
  });
  return static_cast<double>(good) / static_cast<double>(sample.tokens.size());
}

/// What importance_sampling needs of one sample: nothing of the prompt is trained.
void add(tinkex::torch_ext::LossBatch& batch, const std::vector<std::int64_t>& prompt,
         const SampledSequence& sample, double advantage) {
  std::vector<std::int64_t> all = prompt;
  all.insert(all.end(), sample.tokens.begin(), sample.tokens.end());
  const torch::Tensor tokens = torch::tensor(all);
  const torch::Tensor nothing = torch::zeros(static_cast<std::int64_t>(prompt.size()) - 1);
  const torch::Tensor sampled = torch::tensor(sample.logprobs);
  const std::vector<torch::Tensor> inputs = {
      tokens.slice(0, 1), torch::cat({nothing, sampled}),
      torch::cat({nothing, torch::full_like(sampled, advantage)})};
  batch.tokens.push_back(tokens.slice(0, 0, -1));
  for (std::size_t i = 0; i < inputs.size(); ++i) batch.inputs[i].second.push_back(inputs[i]);
}

}  // namespace

int main(int argc, char** argv) try {
  if (const auto done = examples::answer_options(
          argc, argv, "reinforcement learning with a reward that a program checks, 25 steps.")) {
    return *done;
  }
  auto connection = tinkex::torch_ext::connect().value();
  std::cout << "Training on " << connection.description << ".\n";
  tinkex::torch_ext::RemoteModel model(connection,
                                       {.base_model = "tinkex/tiny", .rank = 8, .seed = 1});
  tinkex::torch_ext::RemoteAdamW optimizer(model, torch::optim::AdamWOptions(1e-2));
  const tinkex::ByteTokenizer tokenizer;
  const std::vector<std::int64_t> prompt = tokenizer.encode("Sing: ");
  constexpr int kSamples = 48;

  double first = 0;
  double last = 0;
  for (std::uint64_t step = 1; step <= 25; ++step) {
    auto sampler = model->client().save_weights_and_get_sampling_client().get().value();
    const auto samples = sampler
                             .sample(tinkex::ModelInput::from_tokens(prompt), kSamples,
                                     {.max_tokens = 8, .seed = step, .stop = {{}}})
                             .get()
                             .value()
                             .sequences;
    std::vector<double> rewards;
    for (const SampledSequence& sample : samples) rewards.push_back(reward(sample));
    last = 0;
    for (const double each : rewards) last += each / kSamples;
    if (step == 1) first = last;

    tinkex::torch_ext::LossBatch batch{
        {}, {{"target_tokens", {}}, {"logprobs", {}}, {"advantages", {}}}};
    for (std::size_t i = 0; i < samples.size(); ++i) {
      add(batch, prompt, samples[i], rewards[i] - last);
    }
    model->loss(tinkex::loss::kImportanceSampling, batch).backward();
    optimizer.step();
    std::printf("step %2d  reward %.2f  %s\n", static_cast<int>(step), last,
                std::string(static_cast<std::size_t>(50 * last), '#').c_str());
  }
  return last > first + 0.3 ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
