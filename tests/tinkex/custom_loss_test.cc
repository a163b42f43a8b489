// Custom losses against a server: two passes in one place of the order, and all that can go wrong.
// A token's logprob is the token negated, see TinkerScript.

#include "tinkex/custom_loss.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/scripted_service.h"

namespace tinkex {
namespace {

using namespace std::chrono_literals;
using mocks::Gate;
using mocks::Operation;
using mocks::Reply;
using testing::batch;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::held_by;
using testing::kPatience;

using Floats = std::vector<float>;
using Ints = std::vector<std::int64_t>;

/// C = sum(l * l) / 2 over all logprobs l, so dC/dl = l.
Result<CustomLossOutput> half_square(std::span<const Datum>, std::span<const TensorData> logprobs) {
  CustomLossOutput output;
  for (const TensorData& one : logprobs) {
    for (const float l : one.to_floats()) output.loss += 0.5 * l * l;
    output.gradients.push_back(TensorData::from(one.to_floats(), one.shape()));
  }
  output.metrics = {{"tokens", 3.0}};
  return output;
}

std::vector<std::string> kinds(const std::vector<Operation>& operations) {
  std::vector<std::string> names;
  for (const Operation& one : operations) names.push_back(one.kind);
  return names;
}

std::vector<std::string> input_names(const Datum& datum) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : datum.loss_fn_inputs) names.push_back(name);
  return names;
}

class CustomLossTest : public testing::ScriptedServiceTest {
 protected:
  void SetUp() override { connect(tinker.options()); }
  void TearDown() override {
    gate->open();
    release();
  }

  void connect(ClientOptions options) {
    connect_service(std::move(options));
    auto created = service->create_lora_training_client("base").get();
    if (!created.ok()) throw std::runtime_error(created.error().what());
    client.emplace(*std::move(created));
  }

  /// What was accepted after the creation of the model, in that order.
  std::vector<Operation> operations() const {
    std::vector<Operation> all = tinker.operations();
    std::erase_if(all, [](const Operation& one) { return one.kind == "create_model"; });
    return all;
  }

  /// half_square, which first says that it runs and then waits for release().
  CustomLoss held_loss() {
    return [this, released = held.get_future().share()](auto data, auto logprobs) {
      ++calls;
      running.set_value();
      released.wait();
      return half_square(data, logprobs);
    };
  }
  CustomLoss counted_loss() {
    return [this](auto data, auto logprobs) {
      ++calls;
      return half_square(data, logprobs);
    };
  }
  bool wait_until_it_runs() {
    return running.get_future().wait_for(kPatience) == std::future_status::ready;
  }
  void release() {
    if (!std::exchange(released_, true)) held.set_value();
  }

  /// The error of a custom loss that gives this instead of what half_square gives.
  Error refused(const std::function<void(CustomLossOutput&)>& change) {
    const auto loss = [&change](auto data, auto logprobs) {
      auto output = half_square(data, logprobs);
      change(*output);
      return output;
    };
    return client->forward_backward_custom(batch(2), loss).get().error();
  }

  std::shared_ptr<Gate> gate = std::make_shared<Gate>();
  std::promise<void> running;
  std::promise<void> held;
  std::atomic<int> calls{0};
  std::optional<TrainingClient> client;

 private:
  bool released_ = false;
};

TEST_F(CustomLossTest, TheSecondPassCarriesTheNegatedGradientAsWeights) {
  std::vector<Datum> data = batch(2);
  data[1].loss_fn_inputs.pop_back();  // the weights
  data[1].loss_fn_inputs.emplace_back("reward", TensorData::from(Floats{5}, {1, 1}));
  std::vector<std::string> seen;
  const auto result = client
                          ->forward_backward_custom(data,
                                                    [&seen](auto given, auto logprobs) {
                                                      seen = input_names(given[1]);
                                                      return half_square(given, logprobs);
                                                    })
                          .get();
  ASSERT_TRUE(result.ok()) << result.error().what();
  EXPECT_THAT(seen, ElementsAre("target_tokens", "reward"));

  const auto sent = operations();
  ASSERT_THAT(kinds(sent), ElementsAre("forward", "forward_backward"));
  const auto& first = sent[0].batch->data;
  const auto& second = sent[1].batch->data;
  for (std::size_t i = 0; i < data.size(); ++i) {
    for (const auto& pass : {first, second}) {
      EXPECT_THAT(input_names(pass[i]),
                  ::testing::UnorderedElementsAre("target_tokens", "weights"));
      EXPECT_EQ(pass[i].model_input.text_tokens(), data[i].model_input.text_tokens());
    }
    EXPECT_EQ(find(second[i].loss_fn_inputs, "weights")->to_floats(),
              find(data[i].loss_fn_inputs, "target_tokens")->to_floats())
        << "the negated logprobs";
  }
  EXPECT_EQ(find(first[0].loss_fn_inputs, "weights")->to_floats(), (Floats{1.0f, 0.5f, 0.0f}));
  EXPECT_EQ(find(first[1].loss_fn_inputs, "weights")->to_floats(), (Floats{0, 0, 0}));
  for (const Operation& one : sent) EXPECT_EQ(one.batch->loss_fn, "cross_entropy");
}

TEST_F(CustomLossTest, TheResultReportsTheFunctionsLossAndTheServersApart) {
  const auto result = client->forward_backward_custom(batch(1), half_square).get();
  ASSERT_TRUE(result.ok()) << result.error().what();
  // Targets 1, 2, 3.
  EXPECT_EQ(result->metrics.at("loss:sum"), 7.0);
  EXPECT_EQ(result->metrics.at("surrogate_loss:sum"), 14.0) << "of the weights 1, 2, 3";
  EXPECT_EQ(result->metrics.at("tokens"), 3.0);
  EXPECT_EQ(find(result->loss_fn_outputs[0], "logprobs")->to_floats(), (Floats{-1, -2, -3}));
}

TEST_F(CustomLossTest, AServerThatReportsNoLossIsNoError) {
  tinker.set_result("forward_backward", [](const Operation&, std::string_view) {
    return Reply::json(
        R"({"loss_fn_output_type":"x","loss_fn_outputs":[{}],"metrics":{"tokens":9}})");
  });
  const auto result = client->forward_backward_custom(batch(1), half_square).get();
  ASSERT_TRUE(result.ok()) << result.error().what();
  EXPECT_EQ(result->metrics, (Metrics{{"loss:sum", 7.0}, {"tokens", 3.0}}));
}

TEST_F(CustomLossTest, H6_NothingComesBetweenTheTwoPasses) {
  tinker.plan("forward", held_by(gate));
  auto output = client->forward_backward_custom(batch(200), half_square);
  auto step = client->optim_step();
  auto next = client->forward(batch(1), loss::kCrossEntropy);
  const auto chunks = wait_for_operations(2, "forward");
  ASSERT_TRUE(wait_for_answer(chunks[1])) << "the second chunk's result is there";
  EXPECT_EQ(count("optim_step"), 0u);
  gate->open();
  ASSERT_TRUE(output.get().ok()) << output.get().error().what();
  ASSERT_TRUE(step.get().ok());
  ASSERT_TRUE(next.get().ok());
  const auto sent = operations();
  EXPECT_THAT(kinds(sent), ElementsAre("forward", "forward", "forward_backward", "forward_backward",
                                       "optim_step", "forward"));
  for (std::size_t i = 0; i < sent.size(); ++i) {
    EXPECT_EQ(sent[i].seq_id, static_cast<std::int64_t>(i) + 1);
  }
  EXPECT_EQ(sent[0].examples(), sent[2].examples());
  EXPECT_EQ(sent[1].examples(), sent[3].examples());
}

TEST_F(CustomLossTest, H6_CallsOfOtherThreadsStayOutsideToo) {
  std::vector<std::thread> threads;
  std::vector<std::optional<Future<ForwardBackwardOutput>>> custom(4);
  std::vector<std::optional<Future<OptimStepResponse>>> steps(4);
  for (std::size_t i = 0; i < custom.size(); ++i) {
    threads.emplace_back(
        [&, i] { custom[i] = client->forward_backward_custom(batch(2), half_square); });
    threads.emplace_back([&, i] { steps[i] = client->optim_step(); });
  }
  for (std::thread& thread : threads) thread.join();
  for (auto& one : custom) ASSERT_TRUE(one->get().ok()) << one->get().error().what();
  for (auto& one : steps) ASSERT_TRUE(one->get().ok());
  const auto names = kinds(operations());
  ASSERT_EQ(names.size(), 12u);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == "forward") {
      EXPECT_EQ(names.at(i + 1), "forward_backward") << i;
    }
  }
}

TEST_F(CustomLossTest, T3_TheCallerMayReuseItsMemoryAtOnce) {
  tinker.plan("forward", held_by(gate));
  Ints tokens{4, 5};
  Ints targets{6, 7};
  Floats reward{2};
  Ints kept{9};
  std::vector<Datum> data(1);
  data[0].model_input =
      ModelInput::from_tokens(TensorData::view(tokens.data(), DType::kInt64, {2}));
  data[0].loss_fn_inputs = {
      {"target_tokens", TensorData::view(targets.data(), DType::kInt64, {2})},
      {"reward", TensorData::view(reward.data(), DType::kFloat32, {1})},
      {"kept", TensorData::sparse_csr(TensorData::view(kept.data(), DType::kInt64, {1}), {0, 1},
                                      {1}, {1, 2})
                   .value()}};
  Floats seen;
  Ints seen_sparse;
  auto output = client->forward_backward_custom(data, [&](auto given, auto logprobs) {
    seen = find(given[0].loss_fn_inputs, "reward")->to_floats();
    const TensorData* sparse = find(given[0].loss_fn_inputs, "kept");
    if (sparse->is_sparse() && sparse->col_indices()[0] == 1) seen_sparse = sparse->to_ints();
    return half_square(given, logprobs);
  });
  tokens = targets = {0, 0};
  reward = {0};
  kept = {0};
  data.clear();
  gate->open();
  ASSERT_TRUE(output.get().ok()) << output.get().error().what();
  EXPECT_EQ(seen, Floats{2});
  EXPECT_EQ(seen_sparse, Ints{9});
  for (const Operation& one : operations()) {
    EXPECT_EQ(one.batch->data[0].model_input.text_tokens(), (Ints{4, 5}));
    EXPECT_EQ(find(one.batch->data[0].loss_fn_inputs, "target_tokens")->to_ints(), (Ints{6, 7}));
  }
}

TEST_F(CustomLossTest, SeveralTargetsPerPositionKeepTheirShape) {
  Datum many;
  many.model_input = ModelInput::from_tokens(Ints{1, 2});
  many.loss_fn_inputs = {{"target_tokens", TensorData::from(Ints{1, 2, 3, 4}, {2, 2})}};
  const auto output = client->forward_backward_custom({&many, 1}, half_square).get();
  ASSERT_TRUE(output.ok()) << output.error().what();
  EXPECT_EQ(find(operations()[1].batch->data[0].loss_fn_inputs, "weights")->shape(), (Ints{2, 2}));
}

TEST_F(CustomLossTest, AnErrorOfTheFunctionIsTheCallsAndNothingIsTrained) {
  const auto failed = client
                          ->forward_backward_custom(batch(200),
                                                    [](auto, auto) -> Result<CustomLossOutput> {
                                                      return invalid_argument("no reward");
                                                    })
                          .get();
  EXPECT_EQ(failed.error().message(), "the custom loss failed: no reward");
  EXPECT_FALSE(failed.error().not_accepted()) << "the first pass was";
  const auto thrown = client
                          ->forward_backward_custom(batch(1),
                                                    [](auto, auto) -> Result<CustomLossOutput> {
                                                      throw std::runtime_error("a bad day");
                                                    })
                          .get();
  EXPECT_EQ(thrown.error().code(), ErrorCode::kInternal);
  EXPECT_THAT(thrown.error().what(), HasSubstr("the custom loss failed: a bad day"));
  EXPECT_EQ(client
                ->forward_backward_custom(batch(1),
                                          [](auto, auto) -> Result<CustomLossOutput> { throw 7; })
                .get()
                .error()
                .code(),
            ErrorCode::kInternal);
  ASSERT_TRUE(client->optim_step().get().ok()) << "the client goes on";
  const auto sent = operations();
  EXPECT_THAT(kinds(sent), ElementsAre("forward", "forward", "forward", "forward", "optim_step"));
  EXPECT_EQ(sent.back().seq_id, 5) << "the second passes have taken no ids";
}

TEST_F(CustomLossTest, WhatTheFunctionGivesIsChecked) {
  EXPECT_EQ(refused([](CustomLossOutput& output) { output.gradients.pop_back(); }).message(),
            "the custom loss gave: gradients: expected 2 arrays, one per datum, got 1; give zeros "
            "where a datum has no influence on the loss");
  EXPECT_EQ(refused([](CustomLossOutput& output) {
              output.gradients[1] = TensorData::from(Floats{1, 2});
            }).message(),
            "the custom loss gave: datum 1, gradient: expected a dense array of shape [3] like the "
            "logprobs, got shape [2]; give the derivative of the loss by each logprob");
  EXPECT_EQ(refused([](CustomLossOutput& output) {
              output.gradients[0] = TensorData::from(Floats{1, NAN, 1});
              output.loss = INFINITY;
            }).message(),
            "the custom loss gave: 2 problems: (1) loss: expected a finite number, got inf; look "
            "for a division by zero, an overflow or the logarithm of 0 in it (2) datum 0, "
            "gradient: expected finite float32 values, got nan at element 1; look for a division "
            "by zero or an overflow where it is computed");
  EXPECT_EQ(refused([](CustomLossOutput& output) {
              output.gradients[0] = TensorData::view(nullptr, DType::kFloat32, {3});
            }).code(),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(tinker.operations("forward_backward").size(), 0u);
}

TEST_F(CustomLossTest, BadInputIsRefusedBeforeAnythingIsSent) {
  EXPECT_EQ(client->forward_backward_custom({}, half_square).get().error().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_THAT(client->forward_backward_custom(batch(1), nullptr).get().error().what(),
              HasSubstr("loss: expected a function"));
  Datum sparse = testing::datum(1);
  sparse.loss_fn_inputs = {
      {"target_tokens",
       TensorData::sparse_csr(TensorData::from(Ints{5}), {0, 1, 1, 1}, {7}, {3, 9}).value()}};
  EXPECT_THAT(client->forward_backward_custom({&sparse, 1}, half_square).get().error().what(),
              HasSubstr("expected a dense array"));
  EXPECT_EQ(count("forward"), 0u);
}

TEST_F(CustomLossTest, AFirstPassThatFailsEndsTheCall) {
  tinker.plan("forward", {.polls = {mocks::TinkerScript::failed("out of memory", "user")}});
  auto failed = client->forward_backward_custom(batch(1), counted_loss());
  EXPECT_THAT(failed.get().error().what(), HasSubstr("out of memory"));
  tinker.plan("forward", {.refusals = {Reply::json(R"({"detail":"no such datum"})", 400)}});
  auto refused = client->forward_backward_custom(batch(1), counted_loss());
  ASSERT_FALSE(refused.get().ok());
  EXPECT_EQ(refused.get().error().http_status(), 400);
  EXPECT_EQ(calls, 0);
  ASSERT_TRUE(client->optim_step().get().ok());
  EXPECT_EQ(tinker.operations("forward_backward").size(), 0u);
  EXPECT_EQ(operations().back().seq_id, 2);
}

TEST_F(CustomLossTest, LogprobsThatDoNotFitTheTargetsAreTheServersError) {
  const auto answer = [this](std::string outputs) {
    tinker.set_result("forward", [outputs](const Operation&, std::string_view) {
      return Reply::json(R"({"loss_fn_output_type":"x","loss_fn_outputs":[)" + outputs +
                         R"(],"metrics":{}})");
    });
    return client->forward_backward_custom(batch(1), counted_loss()).get().error();
  };
  const Error none = answer("{}");
  EXPECT_EQ(none.code(), ErrorCode::kDecode);
  EXPECT_THAT(none.what(), HasSubstr("datum 0 has no logprobs"));
  const Error two = answer(R"({"logprobs":{"data":[-1,-2],"dtype":"float32","shape":[2]}})");
  EXPECT_THAT(two.what(), HasSubstr("logprobs of shape [2] but its target_tokens have shape [3]"));
  EXPECT_EQ(calls, 0);
}

TEST_F(CustomLossTest, C3_ASecondPassThatStopsHalfWayTellsWhatTheServerHas) {
  tinker.plan("forward_backward", {});
  tinker.plan("forward_backward", {.refusals = {Reply::json("{}", 422)}});
  auto output = client->forward_backward_custom(batch(200), half_square);
  const Error& error = output.get().error();
  EXPECT_EQ(error.http_status(), 422);
  EXPECT_EQ(error.chunk(), 1u);
  EXPECT_EQ(error.total_chunks(), 2u);
  EXPECT_THAT(error.accepted_request_ids(),
              ElementsAre(tinker.operations("forward_backward").front().request_id));
  EXPECT_TRUE(client->optim_step().get().ok());
}

TEST_F(CustomLossTest, CancellingDuringTheFirstPassLeavesNothingBehind) {
  tinker.plan("forward", held_by(gate));
  auto output = client->forward_backward_custom(batch(200), counted_loss());
  ASSERT_TRUE(wait_for_requests(3, "retrieve_future"));
  output.cancel();
  EXPECT_EQ(output.get().error().code(), ErrorCode::kCancelled);
  EXPECT_TRUE(wait_for_abandoned_poll());
  EXPECT_TRUE(client->optim_step().get().ok());
  EXPECT_THAT(kinds(operations()), ElementsAre("forward", "forward", "optim_step"));
  EXPECT_EQ(calls, 0);
}

TEST_F(CustomLossTest, CancellingWhileTheFunctionRunsDropsWhatItGives) {
  auto output = client->forward_backward_custom(batch(1), held_loss());
  ASSERT_TRUE(wait_until_it_runs());
  output.cancel();
  EXPECT_EQ(output.get().error().code(), ErrorCode::kCancelled);
  EXPECT_TRUE(client->optim_step().get().ok()) << "nothing waits for the function any more";
  release();
  EXPECT_TRUE(client->forward_backward_custom(batch(1), half_square).get().ok());
  EXPECT_THAT(kinds(operations()),
              ElementsAre("forward", "optim_step", "forward", "forward_backward"));
}

TEST_F(CustomLossTest, T11_TheDeadlineCoversBothPassesAndTheFunction) {
  auto late = client->forward_backward_custom(batch(1), held_loss(), {.deadline = 100ms});
  EXPECT_EQ(late.get().error().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_THAT(late.get().error().what(), HasSubstr("forward_backward_custom"));
  EXPECT_TRUE(client->optim_step().get().ok());
  release();
  const auto none =
      client->forward_backward_custom(batch(1), counted_loss(), {.deadline = 0ms}).get();
  EXPECT_EQ(none.error().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_TRUE(client->optim_step().get().ok());
  EXPECT_EQ(tinker.operations("forward_backward").size(), 0u);
}

TEST_F(CustomLossTest, T12_ClosingSettlesTheCallAndThoseBehindItWhileTheFunctionRuns) {
  ClientOptions options = tinker.options();
  options.close_timeout = 50ms;
  connect(std::move(options));
  auto output = client->forward_backward_custom(batch(1), held_loss());
  auto step = client->optim_step();
  ASSERT_TRUE(wait_until_it_runs());
  service->close();
  EXPECT_EQ(output.get().error().code(), ErrorCode::kClosed) << output.get().error().what();
  EXPECT_EQ(step.get().error().code(), ErrorCode::kClosed);
  release();
  EXPECT_EQ(count("optim_step"), 0u);
  EXPECT_EQ(client->forward_backward_custom(batch(1), half_square).get().error().code(),
            ErrorCode::kClosed);
}

TEST_F(CustomLossTest, T12_ADroppedFutureStillTrains) {
  { auto dropped = client->forward_backward_custom(batch(1), half_square); }
  ASSERT_TRUE(client->optim_step().get().ok());
  EXPECT_THAT(kinds(operations()), ElementsAre("forward", "forward_backward", "optim_step"));
}

TEST_F(CustomLossTest, TheBudgetForQueuedBodiesDoesNotBlockTheSecondPass) {
  ClientOptions options = tinker.options();
  options.max_queued_bytes = 1;
  connect(std::move(options));
  auto output = client->forward_backward_custom(batch(300), half_square);
  auto behind = client->forward_backward(batch(300), loss::kCrossEntropy);
  EXPECT_TRUE(output.get().ok());
  EXPECT_TRUE(testing::answers_batch(behind.get(), 300));
}

TEST_F(CustomLossTest, ChunksSideBySideWorkForBothPasses) {
  script("client/config", {Reply::json(R"({"parallel_fwdbwd_chunks":true})")});
  ClientOptions options = tinker.options();
  options.parallel_chunks = true;
  connect(std::move(options));
  auto output = client->forward_backward_custom(batch(300), half_square);
  auto step = client->optim_step();
  EXPECT_TRUE(output.get().ok());
  EXPECT_TRUE(step.get().ok());
  EXPECT_EQ(operations().back().seq_id, 7);
}

TEST_F(CustomLossTest, TheFunctionMayCallTheClientButNotWaitForIt) {
  std::optional<Future<OptimStepResponse>> step;
  ErrorCode waited = ErrorCode::kInternal;
  auto output = client->forward_backward_custom(batch(1), [&](auto data, auto logprobs) {
    step = client->optim_step();
    waited = step->get().error().code();
    return half_square(data, logprobs);
  });
  ASSERT_TRUE(output.get().ok()) << output.get().error().what();
  EXPECT_EQ(waited, ErrorCode::kWouldDeadlock);
  EXPECT_TRUE(std::move(*step).get().ok());
  EXPECT_THAT(kinds(operations()), ElementsAre("forward", "forward_backward", "optim_step"));
}

TEST_F(CustomLossTest, OtherModelsGoOnWhileTheFunctionRuns) {
  auto other = service->create_lora_training_client("base").get();
  ASSERT_TRUE(other.ok());
  auto output = client->forward_backward_custom(batch(1), held_loss());
  ASSERT_TRUE(wait_until_it_runs());
  EXPECT_TRUE(other->optim_step().get().ok());
  EXPECT_TRUE(service->get_supported_models().get().ok());
  release();
  EXPECT_TRUE(output.get().ok());
}

}  // namespace
}  // namespace tinkex
