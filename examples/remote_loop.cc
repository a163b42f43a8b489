// The loop of local_loop.cc with a language model on a server, or in the embedded backend. It takes
// no options: TINKER_BASE_URL and TINKER_API_KEY choose the server.

#include <torch/optim/schedulers/step_lr.h>

#include <iostream>
#include <string>

#include "torch_ext/connect.h"
#include "torch_ext/remote_adamw.h"
#include "torch_ext/remote_model.h"

using tinkex::torch_ext::connect;
using tinkex::torch_ext::RemoteAdamW;
using tinkex::torch_ext::RemoteModel;

int main() try {
  torch::manual_seed(1);
  const std::string text = "to be or not to be, that is the question";
  const torch::Tensor all = torch::tensor(std::vector<std::int64_t>(text.begin(), text.end()));
  const torch::Tensor tokens = all.slice(0, 0, -1).unsqueeze(0);
  const torch::Tensor targets = all.slice(0, 1).unsqueeze(0);

  RemoteModel model(connect().value(), {.base_model = "tinkex/tiny", .rank = 8, .seed = 1});
  RemoteAdamW optimizer(model, torch::optim::AdamWOptions(2e-2));
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
