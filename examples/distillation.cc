// On-policy distillation: the student samples, the teacher says how likely it finds each token, and
// the student learns to sample what the teacher finds likely.
// `./bazelw run //examples:distillation`; TINKER_BASE_URL and TINKER_API_KEY choose a server.

#include <torch/types.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "examples/support/no_options.h"
#include "tinkex/tokenizer.h"
#include "torch_ext/connect.h"
#include "torch_ext/remote_adamw.h"
#include "torch_ext/remote_model.h"

namespace {

using tinkex::ModelInput;
using tinkex::torch_ext::RemoteAdamW;
using tinkex::torch_ext::RemoteModel;
using torch::optim::AdamWOptions;

constexpr std::int64_t kPromptSize = 6;
constexpr std::int64_t kSampled = 8;
constexpr int kSamples = 64;

RemoteModel new_model(const tinkex::torch_ext::Connection& connection, std::int64_t rank) {
  return RemoteModel(connection, {.base_model = "tinkex/tiny", .rank = rank, .seed = 1});
}

/// A model that knows one sentence by heart.
tinkex::SamplingClient train_teacher(const tinkex::torch_ext::Connection& connection,
                                     const torch::Tensor& text) {
  RemoteModel model = new_model(connection, 16);
  RemoteAdamW optimizer(model, AdamWOptions(1e-2));
  for (int step = 0; step < 10; ++step) {
    model
        ->loss(tinkex::loss::kCrossEntropy,
               {{text.slice(0, 0, -1)}, {{"target_tokens", {text.slice(0, 1)}}}})
        .backward();
    optimizer.step();
  }
  return model->client().save_weights_and_get_sampling_client().get().value();
}

}  // namespace

int main(int argc, char** argv) try {
  if (const auto done = examples::answer_options(
          argc, argv,
          "trains a teacher, then distills it into a student by what the student samples.")) {
    return *done;
  }
  auto connection = tinkex::torch_ext::connect().value();
  std::cout << "Training on " << connection.description << ".\n";
  const torch::Tensor text =
      torch::tensor(tinkex::ByteTokenizer().encode("to be or not to be, that is the question"));
  tinkex::SamplingClient teacher = train_teacher(connection, text);
  RemoteModel student = new_model(connection, 8);
  RemoteAdamW optimizer(student, AdamWOptions(5e-3));
  const torch::Tensor start = text.slice(0, 0, kPromptSize);
  const auto* ids = start.const_data_ptr<std::int64_t>();
  const std::vector<std::int64_t> prompt(ids, ids + kPromptSize);

  double first = 0;
  double last = 0;
  for (std::uint64_t step = 1; step <= 40; ++step) {
    auto sampler = student->client().save_weights_and_get_sampling_client().get().value();
    const auto samples = sampler
                             .sample(ModelInput::from_tokens(prompt), kSamples,
                                     {.max_tokens = kSampled, .seed = step, .stop = {{}}})
                             .get()
                             .value()
                             .sequences;
    std::vector<torch::Tensor> sequences, theirs;
    std::vector<tinkex::Future<std::vector<float>>> judged;
    for (const auto& sample : samples) {
      sequences.push_back(torch::cat({start, torch::tensor(sample.tokens).to(torch::kInt64)}));
      const auto* data = sequences.back().const_data_ptr<std::int64_t>();
      judged.push_back(
          teacher.compute_logprobs(ModelInput::from_tokens({data, data + kPromptSize + kSampled})));
    }
    for (auto& each : judged) {
      theirs.push_back(torch::tensor(each.get().value()).slice(0, kPromptSize));
    }
    const torch::Tensor tokens = torch::stack(sequences);
    const torch::Tensor ours =
        student->forward(tokens.slice(1, 0, -1), tokens.slice(1, 1)).slice(1, kPromptSize - 1);
    // The gradient of the reverse KL divergence: log-probability times how much more the student
    // likes a token than the teacher does, beside the other samples.
    const torch::Tensor gap = ours.detach() - torch::stack(theirs);
    const torch::Tensor loss = (ours * (gap - gap.mean(0))).sum() / kSamples;
    last = gap.mean().item<double>();
    loss.backward();
    optimizer.step();
    if (step == 1) first = last;
    std::printf("step %2d  KL per token %5.2f  %s\n", static_cast<int>(step), last,
                std::string(static_cast<std::size_t>(std::max(0.0, 8 * last)), '#').c_str());
  }
  return last < first / 2 ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
