#include "tests/bench/remote_loop.h"

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/bench/measurement.h"
#include "torch_ext/datum_convert.h"
#include "torch_ext/local/base_model.h"
#include "torch_ext/local/pretrained.h"
#include "torch_ext/local/training_run.h"
#include "torch_ext/remote_adamw.h"
#include "torch_ext/remote_model.h"

namespace tinkex::bench {
namespace {

using namespace tinkex::torch_ext;

constexpr char kBuiltIn[] = "tinkex/tiny";
constexpr int kWarmUp = 2;
constexpr std::int64_t kRank = 32;
constexpr std::int64_t kTokenIds = 256;  // every model has as many
constexpr double kLearningRate = 1e-3;

/// Makes a step and gives its loss.
using Step = std::function<double()>;

LossBatch make_batch(const LoopOptions& options) {
  torch::manual_seed(1);
  LossBatch batch;
  std::vector<at::Tensor> targets;
  for (int i = 0; i < options.examples; ++i) {
    const at::Tensor text = torch::randint(kTokenIds, {options.tokens + 1}, torch::kInt64);
    batch.tokens.push_back(text.slice(0, 0, -1));
    targets.push_back(text.slice(0, 1));
  }
  batch.inputs = {{"target_tokens", std::move(targets)}};
  return batch;
}

/// The steps on the model itself: neither a client, nor encoding, nor another thread.
Step on_the_engine(const LoopOptions& options, const LossBatch& batch) {
  const auto model = options.model.empty() ? local::built_in_model(kBuiltIn).value()
                                           : local::load_pretrained(options.model).value();
  std::shared_ptr run = local::TrainingRun::create(model, {.rank = kRank, .seed = 1}).value();
  const auto data = borrow_datums(batch.tokens, batch.inputs).value();
  const AdamParams adam{
      .learning_rate = kLearningRate, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 1e-2};
  return [run, data, adam] {
    const auto pass = run->forward_backward(data, loss::kCrossEntropy, {}, false).value();
    (void)run->optim_step(adam).value();
    return pass.metrics.at("loss:sum");
  };
}

Step on_a_remote_model(const LoopOptions& options, const LossBatch& batch) {
  ConnectOptions where;
  where.where = Backend::kEmbedded;
  if (!options.model.empty()) where.embedded.base_models = {options.model};
  const Connection connection = connect(std::move(where)).value();
  const std::string name = options.model.empty() ? kBuiltIn : options.model.stem().string();
  RemoteModel model(connection, {.base_model = name, .rank = kRank, .seed = 1});
  const auto optimizer =
      std::make_shared<RemoteAdamW>(model, torch::optim::AdamWOptions(kLearningRate));
  return [model, optimizer, batch]() mutable {
    const at::Tensor loss = model->loss(loss::kCrossEntropy, batch);
    loss.backward();
    optimizer->step();
    return loss.item<double>();
  };
}

double seconds_of(const Step& step, double& loss) {
  const auto begun = std::chrono::steady_clock::now();
  loss = step();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

void check_alike(double engine, double remote) {
  if (std::abs(engine - remote) <= 1e-4 * std::abs(engine)) return;
  throw Error(ErrorCode::kInternal, "the loss is " + std::to_string(engine) +
                                        " on the engine and " + std::to_string(remote) +
                                        " by RemoteModel");
}

}  // namespace

void bench_loop(const LoopOptions& options) {
  at::init_num_threads();
  const LossBatch batch = make_batch(options);
  const Step engine = on_the_engine(options, batch);
  const Step remote = on_a_remote_model(options, batch);
  std::vector<double> theirs, ours;
  for (int round = -kWarmUp; round < options.rounds; ++round) {
    double loss_there = 0, loss_here = 0;
    const double there = seconds_of(engine, loss_there);
    const double here = seconds_of(remote, loss_here);
    check_alike(loss_there, loss_here);
    if (round < 0) continue;
    theirs.push_back(there);
    ours.push_back(here);
  }
  std::printf(
      "a loop on %s, %d examples x %d tokens, %d threads: engine %.1f ms a step, RemoteModel on "
      "the "
      "embedded backend %.1f ms, %.3f times (goal: at most 1.10)\n",
      options.model.empty() ? kBuiltIn : options.model.stem().c_str(), options.examples,
      options.tokens, at::get_num_threads(), median(theirs) * 1e3, median(ours) * 1e3,
      median_ratio(ours, theirs));
}

}  // namespace tinkex::bench
