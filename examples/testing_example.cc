// The program of docs/testing.md: a training loop, and its tests.

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tinkex/mocks/connection_doubles.h"
#include "tinkex/mocks/tinker_script.h"
#include "tinkex/service_client.h"

using namespace std::chrono_literals;

// The code under test: yours.
tinkex::Result<int> train_until(tinkex::TrainingClient model, std::span<const tinkex::Datum> batch,
                                double good_enough, int most_steps) {
  for (int step = 1; step <= most_steps; ++step) {
    auto pass = model.forward_backward(batch, tinkex::loss::kCrossEntropy);
    auto update = model.optim_step({.learning_rate = 1e-3});
    const auto& output = pass.get();
    if (!output.ok()) return output.error();
    if (const auto& updated = update.get(); !updated.ok()) return updated.error();
    if (output->metrics.at("loss:sum") <= good_enough) return step;
  }
  return tinkex::Error(tinkex::ErrorCode::kRequestFailed, "the loss is still too high");
}

std::vector<tinkex::Datum> examples(int count) {
  tinkex::Datum example;
  example.model_input = tinkex::ModelInput::from_tokens(std::vector<std::int64_t>{1, 2, 3});
  example.loss_fn_inputs = {
      {"target_tokens", tinkex::TensorData::from(std::vector<std::int64_t>{2, 3, 4})}};
  return std::vector<tinkex::Datum>(static_cast<std::size_t>(count), example);
}

// Without a server.
class FallingLoss : public tinkex::mocks::TrainingDouble {
 public:
  tinkex::Future<tinkex::ForwardBackwardOutput> forward_backward(
      std::span<const tinkex::Datum>, std::string, tinkex::LossConfig, bool,
      const tinkex::CallOptions&) override {
    tinkex::ForwardBackwardOutput output;
    output.metrics["loss:sum"] = 10.0 / ++passes;
    return tinkex::Future<tinkex::ForwardBackwardOutput>::ready_with(std::move(output));
  }
  tinkex::Future<tinkex::OptimStepResponse> optim_step(const tinkex::AdamParams& params,
                                                       const tinkex::CallOptions&) override {
    rates.push_back(params.learning_rate);
    return tinkex::Future<tinkex::OptimStepResponse>::ready_with(tinkex::OptimStepResponse());
  }

  int passes = 0;
  std::vector<double> rates;
};

TEST(TrainUntil, StopsWhenTheLossIsGoodEnough) {
  auto server = std::make_shared<FallingLoss>();
  EXPECT_EQ(train_until(tinkex::TrainingClient(server), examples(2), 2.5, 100).value(), 4);
  EXPECT_EQ(server->rates, std::vector<double>(4, 1e-3));
}

TEST(TrainUntil, TellsWhatADoubleDoesNotAnswer) {
  tinkex::TrainingClient model(std::make_shared<tinkex::mocks::TrainingDouble>());
  const auto steps = train_until(model, examples(2), 2.5, 100);
  EXPECT_NE(steps.error().message().find("forward_backward"), std::string::npos);
}

// With a server.
class ScriptedTraining : public ::testing::Test {
 protected:
  tinkex::TrainingClient connect(tinkex::ClientOptions options) {
    service_.emplace(tinkex::ServiceClient::connect(std::move(options)).value());
    return service_->create_lora_training_client("any").get().value();
  }
  tinkex::TrainingClient connect() { return connect(tinker.options()); }

  tinkex::mocks::TinkerScript tinker;

 private:
  std::optional<tinkex::ServiceClient> service_;
};

TEST_F(ScriptedTraining, EveryStepIsAPassAndAnUpdate) {
  auto model = connect();
  EXPECT_FALSE(train_until(model, examples(2), 0.0, 3).ok());

  const auto passes = tinker.operations("forward_backward");
  ASSERT_EQ(passes.size(), 3u);
  EXPECT_EQ(passes[0].examples(), 2u);
  EXPECT_EQ(passes[0].batch->loss_fn, "cross_entropy");
  const auto updates = tinker.operations("optim_step");
  ASSERT_EQ(updates.size(), 3u);
  EXPECT_LT(passes[0].seq_id, updates[0].seq_id);
}

// Faults.
using tinkex::mocks::Fault;
using tinkex::mocks::Reply;
using tinkex::mocks::TinkerScript;

TEST_F(ScriptedTraining, SurvivesABadHour) {
  auto model = connect();
  // Refused, and accepted at the third attempt.
  tinker.plan("forward_backward",
              {.refusals = {Reply::json("{}", 503).after(20ms), Reply::hang_up(Fault::kReset)}});
  // Carried out, but the client does not hear of it until it asks again.
  tinker.plan("optim_step", {.lost = {Reply::hang_up(Fault::kReset)}});
  // Its result is not there at once.
  tinker.plan("optim_step", {.polls = {TinkerScript::try_again("paused_capacity", 5ms)}});

  EXPECT_FALSE(train_until(model, examples(2), 0.0, 2).ok());
  EXPECT_EQ(tinker.operations("forward_backward").size(), 2u);
  EXPECT_EQ(tinker.operations("optim_step").size(), 2u) << "none was carried out twice";
}

TEST_F(ScriptedTraining, ReportsAnOperationThatFailed) {
  auto model = connect();
  tinker.plan("forward_backward", {.result = TinkerScript::failed("the loss is NaN", "user")});
  const auto steps = train_until(model, examples(2), 0.0, 5);
  ASSERT_FALSE(steps.ok());
  EXPECT_EQ(steps.error().code(), tinkex::ErrorCode::kRequestFailed);
}

TEST_F(ScriptedTraining, ReportsAnAnswerThatMakesNoSense) {
  auto model = connect();
  for (const Reply& answer : {Reply::bad_json(), Reply::truncated_protobuf(),
                              Reply::protobuf("not JSON").labelled("application/json")}) {
    tinker.plan("forward_backward", {.result = answer});
    EXPECT_EQ(train_until(model, examples(1), 0.0, 1).error().code(), tinkex::ErrorCode::kDecode);
  }
}

// Order, and time.
TEST_F(ScriptedTraining, ResultsMayComeInAnyOrder) {
  tinkex::ClientOptions options = tinker.options();
  options.chunk_limits.max_examples = 1;  // three requests
  auto model = connect(options);
  tinker.reorder("forward_backward", {2, 0, 1});
  auto pass = model.forward_backward(examples(3), tinkex::loss::kCrossEntropy);
  EXPECT_EQ(pass.get().value().loss_fn_outputs.size(), 3u);
}

TEST_F(ScriptedTraining, AskForTheUpdateWhileThePassIsStillUnderWay) {
  auto model = connect();
  auto gate = std::make_shared<tinkex::mocks::Gate>();
  tinker.plan("forward_backward", {.result_gate = gate});
  auto pass = model.forward_backward(examples(1), tinkex::loss::kCrossEntropy);
  EXPECT_TRUE(model.optim_step().get().ok());
  EXPECT_FALSE(pass.ready());
  gate->open();
  EXPECT_TRUE(pass.get().ok());
}

// The log.
TEST_F(ScriptedTraining, TheLogTellsWhatArrivedWhen) {
  auto model = connect();
  EXPECT_FALSE(train_until(model, examples(2), 0.0, 1).ok());
  const auto log = tinker.server().log("/api/v1/");
  for (const tinkex::mocks::LoggedRequest& request : log) {
    EXPECT_NE(request.header("user-agent"), "");
  }
  const auto sends = tinker.server().log(TinkerScript::path("forward_backward"));
  ASSERT_EQ(sends.size(), 1u);
  EXPECT_LT(sends[0].arrived.order, sends[0].replied.order);
  EXPECT_EQ(tinker.server().max_in_flight(TinkerScript::path("optim_step")), 1u);
}
