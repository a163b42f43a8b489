// Direct preference optimization: a loss of your own, over a remote model and what it was before.
// `./bazelw run //examples:dpo`; TINKER_BASE_URL and TINKER_API_KEY choose a server.

#include <torch/types.h>

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

using tinkex::torch_ext::RemoteModel;
using Tensors = std::vector<torch::Tensor>;

struct Preference {
  std::string prompt, chosen, rejected;
};

const std::vector<Preference> kPreferences = {
    {"The sky is ", "blue.", "green."},    {"Snow is ", "white.", "orange."},
    {"Grass is ", "green.", "purple."},    {"Fire is ", "hot.", "cold."},
    {"Two and two are ", "four.", "six."}, {"A day has ", "24 hours.", "9 hours."},
};

/// Prompts with an answer each; targets of prompts do not count.
std::pair<Tensors, Tensors> batch(std::string Preference::*answer) {
  const tinkex::ByteTokenizer tokenizer;
  Tensors tokens, targets;
  for (const Preference& each : kPreferences) {
    const torch::Tensor all = torch::tensor(tokenizer.encode(each.prompt + each.*answer));
    torch::Tensor wanted = all.slice(0, 1).clone();
    wanted.slice(0, 0, static_cast<std::int64_t>(each.prompt.size()) - 1).fill_(-100);
    tokens.push_back(all.slice(0, 0, -1));
    targets.push_back(wanted);
  }
  return {tokens, targets};
}

/// The log-probability of each answer.
torch::Tensor answers(RemoteModel& model, const std::pair<Tensors, Tensors>& batch) {
  Tensors sums;
  for (const torch::Tensor& each : model->forward_list(batch.first, batch.second)) {
    sums.push_back(each.sum());
  }
  return torch::stack(sums);
}

}  // namespace

int main(int argc, char** argv) try {
  if (const auto done = examples::answer_options(
          argc, argv,
          "direct preference optimization of a remote model, twenty steps of six preferences.")) {
    return *done;
  }
  auto connection = tinkex::torch_ext::connect().value();
  std::cout << "Training on " << connection.description << ".\n";
  RemoteModel model(connection, {.base_model = "tinkex/tiny", .rank = 8, .seed = 1});
  tinkex::torch_ext::RemoteAdamW optimizer(model, torch::optim::AdamWOptions(2e-3));
  const auto chosen = batch(&Preference::chosen);
  const auto rejected = batch(&Preference::rejected);

  torch::Tensor reference;
  {
    const torch::NoGradGuard no_grad;  // forward passes alone
    reference = answers(model, chosen) - answers(model, rejected);
  }
  constexpr double kBeta = 0.1;
  double right = 0;
  for (int step = 1; step <= 20; ++step) {
    const torch::Tensor margin = answers(model, chosen) - answers(model, rejected) - reference;
    const torch::Tensor loss = -torch::log_sigmoid(kBeta * margin).mean();
    loss.backward();  // both forward passes train by one request
    optimizer.step();
    right = (margin > 0).to(torch::kDouble).mean().item<double>();
    if (step % 5 != 0) continue;
    std::cout << "step " << step << "  loss " << loss.item<double>() << "  margin "
              << margin.mean().item<double>()
              << "  prefers the chosen answer more than before: " << 100 * right << " %\n";
  }
  return right == 1 ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
