// A loop of LibTorch's as there are many: a small language model is trained here. remote_loop.cc is
// the same loop with a large one on a server; docs/remote_model.md shows the difference.

#include <torch/nn.h>
#include <torch/optim.h>

#include <iostream>
#include <string>

/// Which character follows which.
struct BigramImpl : torch::nn::Module {
  BigramImpl() {
    register_module("embedding", embedding);
    register_module("head", head);
  }
  torch::Tensor forward(const torch::Tensor& tokens, const torch::Tensor& targets) {
    const torch::Tensor logprobs = torch::log_softmax(head(embedding(tokens)), -1);
    return logprobs.gather(-1, targets.unsqueeze(-1)).squeeze(-1);
  }
  torch::nn::Embedding embedding{256, 64};
  torch::nn::Linear head{64, 256};
};
TORCH_MODULE(Bigram);

int main() try {
  torch::manual_seed(1);
  const std::string text = "to be or not to be, that is the question";
  const torch::Tensor all = torch::tensor(std::vector<std::int64_t>(text.begin(), text.end()));
  const torch::Tensor tokens = all.slice(0, 0, -1).unsqueeze(0);
  const torch::Tensor targets = all.slice(0, 1).unsqueeze(0);

  Bigram model;
  torch::optim::AdamW optimizer(model->parameters(), torch::optim::AdamWOptions(2e-2));
  torch::optim::StepLR schedule(optimizer, /*step_size=*/10, /*gamma=*/0.7);
  double first = 0;
  double last = 0;
  for (int step = 1; step <= 30; ++step) {
    const torch::Tensor loss = -model->forward(tokens, targets).mean();
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    schedule.step();
    last = loss.item<double>();
    if (step == 1) first = last;
    if (step % 10 == 0) std::cout << "step " << step << "  loss " << last << "\n";
  }
  return last < first / 2 ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
