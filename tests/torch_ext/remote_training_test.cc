// A remote model on the embedded backend beside the same model held here: plain LibTorch, autograd
// and torch::optim::AdamW.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/utils/rnn.h>
#include <torch/optim/adamw.h>
#include <torch/types.h>

#include <cmath>

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/torch_ext/local/reference_model.h"
#include "torch_ext/adapter.h"
#include "torch_ext/backend_errors.h"
#include "torch_ext/local/lora_layout.h"
#include "torch_ext/local/pretrained.h"
#include "torch_ext/local/safetensors.h"
#include "torch_ext/remote/training_state.h"
#include "torch_ext/remote_adamw.h"
#include "torch_ext/remote_model.h"

namespace tinkex::torch_ext {
namespace {

using local::testing::ReferenceModel;
using local::testing::relative_error;

const std::filesystem::path kModel = "tests/torch_ext/local/testdata/models/llama";
constexpr std::int64_t kRank = 4;

/// Sequences of different lengths, and the targets after each token.
struct Batch {
  std::vector<at::Tensor> tokens, targets, weights;
};

Batch batch_of(std::uint64_t seed, std::size_t count = 5) {
  Batch batch;
  for (std::size_t i = 0; i < count; ++i) {
    const auto length = static_cast<std::int64_t>(3 + 2 * i);
    const std::uint64_t own = 100 * seed + i;
    batch.tokens.push_back(torch::tensor(local::testing::random_tokens(length, 280, own)));
    batch.targets.push_back(torch::tensor(local::testing::random_tokens(length, 280, own + 50)));
    batch.weights.push_back(torch::tensor(
        local::testing::random_floats(static_cast<std::size_t>(length), -0.5F, 1.5F, own)));
  }
  return batch;
}

/// A loss of all log-probabilities of a batch.
using Loss = std::function<at::Tensor(const std::vector<at::Tensor>&, const Batch&)>;

at::Tensor weighted_sum(const std::vector<at::Tensor>& logprobs, const Batch& batch) {
  at::Tensor sum = torch::zeros({}, logprobs.front().options());
  for (std::size_t i = 0; i < logprobs.size(); ++i) {
    sum = sum - (logprobs[i] * batch.weights[i].to(logprobs[i].scalar_type())).sum();
  }
  return sum;
}

/// DPO's form: no sum over positions.
at::Tensor preference(const std::vector<at::Tensor>& logprobs, const Batch&) {
  at::Tensor margin = torch::zeros({}, logprobs.front().options());
  for (std::size_t i = 0; i < logprobs.size(); ++i) {
    margin = margin + (i % 2 == 0 ? 0.05 : -0.05) * logprobs[i].sum();
  }
  return -torch::log_sigmoid(margin) + 0.01 * logprobs[0].pow(2).mean();
}

class RemoteTrainingTest : public testing::Test {
 protected:
  static Connection embedded(std::size_t max_examples = 128) {
    ConnectOptions options;
    options.where = Backend::kEmbedded;
    options.embedded.base_models = {kModel};
    options.client.chunk_limits.max_examples = max_examples;
    return connect(std::move(options)).value();
  }
  static RemoteModelOptions model_options() {
    return {.base_model = "llama", .rank = kRank, .seed = 7};
  }

  /// All LoRA matrices in the order of the layout, float64.
  at::Tensor flat(RemoteModel& model, const std::string& name) {
    const std::string path = model->client().save_state(name).get().value().path;
    const AdapterState adapter = load_adapter(checkpoint_folder(connection_, path).value()).value();
    std::vector<at::Tensor> parts;
    for (const auto& matrix : layout_->matrices()) {
      parts.push_back(adapter.tensors.at(matrix.name).flatten().to(at::kDouble));
    }
    return at::cat(parts);
  }

  /// The same model here, in float64.
  std::vector<at::Tensor> local_logprobs(const at::Tensor& flat, const Batch& batch) const {
    std::vector<at::Tensor> logprobs;
    for (std::size_t i = 0; i < batch.tokens.size(); ++i) {
      const at::Tensor& tokens = batch.tokens[i];
      const auto* data = tokens.const_data_ptr<std::int64_t>();
      const at::Tensor all = reference_.logprobs(flat, {data, data + tokens.numel()});
      logprobs.push_back(all.gather(1, batch.targets[i].unsqueeze(1)).squeeze(1));
    }
    return logprobs;
  }

  static local::testing::Weights weights() {
    const auto file = local::SafetensorsFile::open(kModel / "model.safetensors").value();
    local::testing::Weights weights;
    for (const auto& name : file.names()) {
      weights[name] = file.read(name).value().to(at::kDouble);
    }
    return weights;
  }

  Connection connection_ = embedded();
  const std::shared_ptr<const local::BaseModel> base_ = local::load_pretrained(kModel).value();
  const std::shared_ptr<const local::LoraLayout> layout_ =
      local::LoraLayout::create(base_->config(), local::testing::rank(kRank)).value();
  const ReferenceModel reference_{base_->config(), weights(), *layout_};
};

/// An eps that is not small makes the steps follow the gradients' sizes, not their signs alone.
torch::optim::AdamWOptions adamw() {
  return torch::optim::AdamWOptions(2e-2).eps(1e-2).weight_decay(0.1);
}

TEST_F(RemoteTrainingTest, TenStepsEqualThoseOfAdamWOnALocalCopy) {
  for (const Loss& loss : {Loss(weighted_sum), Loss(preference)}) {
    RemoteModel model(connection_, model_options());
    RemoteAdamW optimizer(model, adamw());
    const at::Tensor start = flat(model, "start");
    at::Tensor here = start.clone().requires_grad_(true);
    torch::optim::AdamW local({here}, adamw());
    for (std::uint64_t step = 0; step < 10; ++step) {
      const Batch batch = batch_of(step);
      const at::Tensor remote_loss = loss(model->forward_list(batch.tokens, batch.targets), batch);
      remote_loss.backward();
      optimizer.step();
      const at::Tensor local_loss = loss(local_logprobs(here, batch), batch);
      local.zero_grad();
      local_loss.backward();
      local.step();
      EXPECT_NEAR(remote_loss.item<double>(), local_loss.item<double>(),
                  1e-4 * std::abs(local_loss.item<double>()));
    }
    const at::Tensor moved = flat(model, "end") - start;
    EXPECT_LT(relative_error(moved, here.detach() - start), 1e-4);
    EXPECT_GT(moved.abs().max().item<double>(), 1e-2);
  }
}

at::Tensor probe(RemoteModel& model) {
  const Batch batch = batch_of(99);
  const torch::NoGradGuard no_grad;
  return at::cat(model->forward_list(batch.tokens, batch.targets));
}

/// What a model has learnt after three steps of which each was made by `backward`.
template <class Backward>
at::Tensor after_three_steps(RemoteModel model, const Backward& backward) {
  RemoteAdamW optimizer(model, adamw());
  const at::Tensor before = probe(model);
  for (std::uint64_t step = 0; step < 3; ++step) {
    backward(model, batch_of(step));
    optimizer.step();
  }
  const at::Tensor after = probe(model);
  EXPECT_GT((after - before).abs().max().item<double>(), 1e-2);
  return after;
}

void two_passes(RemoteModel& model, const Batch& batch) {
  weighted_sum(model->forward_list(batch.tokens, batch.targets), batch).backward();
}

TEST_F(RemoteTrainingTest, OnePassAndTwoPassesTrainAlike) {
  const at::Tensor two = after_three_steps(RemoteModel(connection_, model_options()), two_passes);
  const at::Tensor one = after_three_steps(
      RemoteModel(connection_, model_options()), [](RemoteModel& model, const Batch& batch) {
        const LossBatch inputs{batch.tokens,
                               {{"target_tokens", batch.targets}, {"weights", batch.weights}}};
        model->loss(loss::kCrossEntropy, inputs).backward();
      });
  EXPECT_LT((two - one).abs().max().item<double>(), 1e-4);
}

TEST_F(RemoteTrainingTest, ChunksTrainAsOneBatchDoes) {
  const at::Tensor whole = after_three_steps(RemoteModel(connection_, model_options()), two_passes);
  Connection cut = embedded(/*max_examples=*/2);
  RemoteModel model(cut, model_options());
  const Batch batch = batch_of(0);
  EXPECT_EQ(model->explain_list(batch.tokens, batch.targets).requests(), 6u);
  const at::Tensor chunked = after_three_steps(model, two_passes);
  EXPECT_LT((whole - chunked).abs().max().item<double>(), 1e-4);
}

TEST_F(RemoteTrainingTest, PaddedBatchesAndListsTrainAlike) {
  const at::Tensor lists = after_three_steps(RemoteModel(connection_, model_options()), two_passes);
  const at::Tensor padded = after_three_steps(
      RemoteModel(connection_, model_options()), [](RemoteModel& model, const Batch& batch) {
        const auto pad = [](const std::vector<at::Tensor>& list, double value) {
          return torch::nn::utils::rnn::pad_sequence(list, /*batch_first=*/true, value);
        };
        const at::Tensor logprobs = model->forward(pad(batch.tokens, 0), pad(batch.targets, -100));
        (-(logprobs * pad(batch.weights, 0))).sum().backward();
      });
  EXPECT_TRUE(at::equal(lists, padded));
}

/// K targets after each position, of which some do not count: one within a row of K, a whole row of
/// them amid a sequence, and all but the first of its last row, so that the end of what is sent
/// lies within a row.
at::Tensor some_targets(std::int64_t rows, std::int64_t length, std::int64_t k) {
  const at::Tensor targets = torch::tensor(local::testing::random_tokens(rows * length * k, 280, 5))
                                 .view({rows, length, k});
  targets.select(0, 0).select(0, 1).narrow(0, 1, 1).fill_(-100);
  targets.select(0, 1).select(0, 2).fill_(-100);
  targets.select(0, 1).narrow(0, length - 2, 1).narrow(1, 1, k - 1).fill_(-100);
  targets.select(0, 1).narrow(0, length - 1, 1).fill_(-100);
  return targets;
}

/// A loss of log-probabilities (rows, length, K) that is neither linear nor the same for each K.
at::Tensor loss_of_many(const at::Tensor& logprobs, const at::Tensor& weights) {
  const at::Tensor mixed = logprobs * weights.to(logprobs.scalar_type());
  return -mixed.sum() + 0.02 * logprobs.pow(2).sum() - 0.1 * torch::log_sigmoid(mixed.sum(2)).sum();
}

TEST_F(RemoteTrainingTest, ManyTargetsPerPositionTrainAsAutogradDoesHere) {
  constexpr std::int64_t kRows = 2, kLength = 6, kTargets = 3;
  RemoteModel model(connection_, model_options());
  // Plain gradient descent, as far as AdamW can: with so large an eps its first step is
  // lr / eps times the gradient.
  RemoteAdamW optimizer(model, torch::optim::AdamWOptions(1e5).eps(1e6).weight_decay(0));
  const at::Tensor start = flat(model, "start");
  const at::Tensor tokens =
      torch::tensor(local::testing::random_tokens(kRows * kLength, 280, 3)).view({kRows, kLength});
  const at::Tensor targets = some_targets(kRows, kLength, kTargets);
  const at::Tensor weights =
      torch::tensor(local::testing::random_floats(kRows * kLength * kTargets, -0.5F, 1.5F, 4))
          .view(targets.sizes());

  const at::Tensor p = model->forward(tokens, targets);
  const at::Tensor remote_loss = loss_of_many(p, weights);
  remote_loss.backward();
  optimizer.step();
  const at::Tensor moved = flat(model, "end") - start;

  const at::Tensor here = start.clone().requires_grad_(true);
  std::vector<at::Tensor> rows;
  for (std::int64_t row = 0; row < kRows; ++row) {
    const at::Tensor of_row = tokens[row].contiguous();
    const auto* data = of_row.const_data_ptr<std::int64_t>();
    const at::Tensor all = reference_.logprobs(here, {data, data + kLength});
    rows.push_back(all.gather(1, targets[row].clamp_min(0)));
  }
  const at::Tensor local = torch::stack(rows) * (targets != -100).to(at::kDouble);
  const at::Tensor local_loss = loss_of_many(local, weights);
  local_loss.backward();
  EXPECT_LT(relative_error(p.detach().to(at::kDouble), local.detach()), 1e-4);
  EXPECT_LT(relative_error(moved, -0.1 * here.grad()), 1e-3);
  EXPECT_GT(moved.abs().max().item<double>(), 1e-2);
}

TEST_F(RemoteTrainingTest, HalvesOfABatchAccumulate) {
  const at::Tensor whole = after_three_steps(RemoteModel(connection_, model_options()), two_passes);
  const at::Tensor halves = after_three_steps(
      RemoteModel(connection_, model_options()), [](RemoteModel& model, const Batch& batch) {
        for (std::ptrdiff_t i = 0; i < 2; ++i) {
          const auto half = [i](const std::vector<at::Tensor>& all) {
            return i == 0 ? std::vector<at::Tensor>(all.begin(), all.begin() + 2)
                          : std::vector<at::Tensor>(all.begin() + 2, all.end());
          };
          two_passes(model, {half(batch.tokens), half(batch.targets), half(batch.weights)});
        }
      });
  EXPECT_LT((whole - halves).abs().max().item<double>(), 1e-4);
}

TEST_F(RemoteTrainingTest, APipelinedModelTrainsBitForBitAlike) {
  const at::Tensor waiting =
      after_three_steps(RemoteModel(connection_, model_options()), two_passes);
  RemoteModelOptions options = model_options();
  options.pipelined = true;
  RemoteModel model(connection_, options);
  const at::Tensor pipelined = after_three_steps(model, two_passes);
  model->synchronize();
  EXPECT_TRUE(at::equal(waiting, pipelined));
  EXPECT_GT(model->metrics().count("loss:sum"), 0u);
}

TEST_F(RemoteTrainingTest, AStepBehindARefusedPassAloneLeavesNothingUnknown) {
  RemoteModelOptions options = model_options();
  options.pipelined = true;
  RemoteModel model(connection_, options);
  RemoteAdamW optimizer(model, adamw());
  remote::GradientLedger& ledger = model->state()->ledger();
  const auto refuse = [] {
    return Future<ForwardBackwardOutput>::ready_with(invalid_argument("refused"));
  };
  auto [answer, refused] = ledger.send_pass(refuse, {});
  optimizer.step();
  ledger.end_pass(refused, std::move(answer).get(), remote::Report::kCaller);
  try {
    model->synchronize();
    FAIL() << "the backend stepped without a gradient";
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), testing::HasSubstr(kNoGradients));
  }
  two_passes(model, batch_of(0));
  optimizer.step();
  model->synchronize();
}

TEST_F(RemoteTrainingTest, StepsGoOnWhileTheNextBatchIsPrepared) {
  RemoteModel model(connection_, model_options());
  RemoteAdamW optimizer(model, adamw());
  const at::Tensor before = probe(model);
  std::vector<Future<ForwardBackwardOutput>> passes;
  std::vector<Future<OptimStepResponse>> steps;
  for (std::uint64_t step = 0; step < 3; ++step) {
    const Batch batch = batch_of(step);
    passes.push_back(model->forward_backward(
        loss::kCrossEntropy,
        {batch.tokens, {{"target_tokens", batch.targets}, {"weights", batch.weights}}}));
    steps.push_back(optimizer.step_async());
  }
  for (auto& pass : passes) EXPECT_TRUE(std::isfinite(pass.get().value().metrics.at("loss:sum")));
  for (auto& step : steps) EXPECT_FALSE(step.get().value().metrics.empty());
  EXPECT_GT((probe(model) - before).abs().max().item<double>(), 1e-2);
}

TEST_F(RemoteTrainingTest, ALossThatFailedIsLeftBehindByTheStepThatEndsIt) {
  RemoteModel model(connection_, model_options());
  RemoteAdamW optimizer(model, adamw());
  const Batch batch = batch_of(0);
  const LossBatch inputs{batch.tokens, {{"target_tokens", batch.targets}}};
  const auto error_of = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const Error& error) {
      return error.message();
    }
    return "it did not fail";
  };
  const at::Tensor before = probe(model);
  two_passes(model, batch);
  EXPECT_THAT(error_of([&] { model->loss("crossentropy", inputs); }),
              testing::HasSubstr("crossentropy"));
  EXPECT_THAT(error_of([&] { model->loss(loss::kCrossEntropy, inputs); }),
              testing::AllOf(testing::HasSubstr("accept_server_gradient()"),
                             testing::HasSubstr("where the server has dropped it")));
  model->accept_server_gradient();
  EXPECT_THAT(error_of([&] { optimizer.step(); }), testing::HasSubstr(kStepEnded));
  EXPECT_TRUE(torch::equal(probe(model), before));
  model->loss(loss::kCrossEntropy, inputs).backward();
  optimizer.step();
  EXPECT_GT((probe(model) - before).abs().max().item<double>(), 1e-3);
}

// Errors of the server's number what was sent, which is not each row.
TEST_F(RemoteTrainingTest, ErrorsOfAPaddedBatchTellWhichRowIsMeant) {
  RemoteModel model(connection_, model_options());
  const auto error_of = [&](const at::Tensor& tokens, const at::Tensor& targets) -> std::string {
    try {
      model->forward(tokens, targets);
    } catch (const Error& error) {
      return error.message();
    }
    return "it did not fail";
  };
  const at::Tensor targets = torch::tensor({{-100, -100}, {3, -100}, {4, 5}});
  EXPECT_THAT(error_of(torch::tensor({{1, 2}, {1, 2}, {1, -5}}), targets),
              testing::HasSubstr("tokens has -5 at element [2, 1]"));
  EXPECT_THAT(
      error_of(torch::tensor({{1, 2}, {1, -5}, {1, 4'000}}), targets),
      testing::HasSubstr("not counting rows without a target that counts, such as row 0: "));
  EXPECT_THAT(error_of(torch::tensor({{1, 4'000}}), torch::tensor({{3, 4}})),
              testing::Not(testing::HasSubstr("not counting")));
}

TEST_F(RemoteTrainingTest, AModelWhoseServiceIsClosedSaysSo) {
  RemoteModel model(connection_, model_options());
  connection_.service.close();
  const Batch batch = batch_of(0);
  try {
    model->forward_list(batch.tokens, batch.targets);
    FAIL() << "it ran";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kClosed);
  }
}

}  // namespace
}  // namespace tinkex::torch_ext
