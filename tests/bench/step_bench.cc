// How much of a training step is the model's own arithmetic: the same batch through the engine
// alone, through the client and the embedded backend in this process, and over loopback HTTP.

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tinkex/service_client.h"
#include "torch_ext/local/base_model.h"
#include "torch_ext/local/embedded_backend.h"
#include "torch_ext/local/local_server.h"
#include "torch_ext/local/training_run.h"

namespace {

using namespace tinkex;
using Seconds = std::chrono::duration<double>;

constexpr char kModel[] = "tinkex/tiny";
constexpr int kWarmUp = 3;
constexpr int kRounds = 60;
constexpr std::size_t kExamples = 64;
constexpr int kTokens = 23;  // the default example's longest

std::vector<Datum> make_batch() {
  std::mt19937 random(1);
  std::vector<Datum> batch;
  for (std::size_t i = 0; i < kExamples; ++i) {
    std::vector<std::int64_t> tokens(kTokens + 1);
    for (auto& token : tokens) token = static_cast<std::int64_t>(random() % 256);
    Datum datum;
    datum.model_input =
        ModelInput::from_tokens(std::vector<std::int64_t>(tokens.begin(), tokens.end() - 1));
    datum.loss_fn_inputs = {{"target_tokens", TensorData::from(std::vector<std::int64_t>(
                                                  tokens.begin() + 1, tokens.end()))},
                            {"weights", TensorData::from(std::vector<float>(kTokens, 1e-3f))}};
    batch.push_back(std::move(datum));
  }
  return batch;
}

using Step = std::function<void()>;

/// The median of each step's seconds. The steps take turns, so that what else the machine does
/// falls on all of them alike.
std::vector<double> seconds_per_step(const std::vector<Step>& steps) {
  std::vector<std::vector<double>> taken(steps.size());
  for (int round = -kWarmUp; round < kRounds; ++round) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const auto begun = std::chrono::steady_clock::now();
      steps[i]();
      const Seconds seconds = std::chrono::steady_clock::now() - begun;
      if (round >= 0) taken[i].push_back(seconds.count());
    }
  }
  std::vector<double> medians;
  for (auto& seconds : taken) {
    std::nth_element(seconds.begin(), seconds.begin() + kRounds / 2, seconds.end());
    medians.push_back(seconds[kRounds / 2]);
  }
  return medians;
}

Step engine_alone(const std::vector<Datum>& batch) {
  auto model = torch_ext::local::built_in_model(kModel).value();
  std::shared_ptr run =
      torch_ext::local::TrainingRun::create(model, {.rank = 32, .seed = 1}).value();
  return [run, &batch] {
    (void)run->forward_backward(batch, loss::kCrossEntropy, {}, false).value();
    (void)run->optim_step({}).value();
  };
}

Step through_client(const std::vector<Datum>& batch, ClientOptions options) {
  auto service = ServiceClient::connect(std::move(options)).value();
  auto client = service.create_lora_training_client(kModel, {.rank = 32, .seed = 1}).get().value();
  return [service, client, &batch]() mutable {
    auto output = client.forward_backward(batch, loss::kCrossEntropy);
    auto step = client.optim_step();
    (void)output.get().value();
    (void)step.get().value();
  };
}

void print(const char* how, double seconds, double arithmetic) {
  std::printf("%-34s %8.2f ms a step, arithmetic %5.1f %%\n", how, seconds * 1e3,
              100.0 * arithmetic / seconds);
}

}  // namespace

int main() {
  try {
    at::init_num_threads();
    const std::vector<Datum> batch = make_batch();
    ClientOptions in_process;
    in_process.base_url = torch_ext::local::kEmbeddedBaseUrl;
    in_process.transport = torch_ext::local::start_embedded_backend().value();
    auto server = torch_ext::local::LocalServer::start({}).value();
    ClientOptions over_http;
    over_http.base_url = server->base_url();
    const auto medians =
        seconds_per_step({engine_alone(batch), through_client(batch, std::move(in_process)),
                          through_client(batch, std::move(over_http))});
    std::printf("%zu examples x %d tokens, %s, rank 32, %d threads\n", kExamples, kTokens, kModel,
                at::get_num_threads());
    print("engine alone", medians[0], medians[0]);
    print("client + embedded backend", medians[1], medians[0]);
    print("client + loopback HTTP + backend", medians[2], medians[0]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
