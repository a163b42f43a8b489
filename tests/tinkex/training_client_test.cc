#include "tinkex/training_client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/scripted_service.h"

namespace tinkex {
namespace {

using namespace std::chrono_literals;
using mocks::Fault;
using mocks::Gate;
using mocks::Operation;
using mocks::Reply;
using mocks::TinkerScript;
using testing::answers_batch;
using testing::batch;
using testing::datum;
using testing::held_by;
using testing::kPatience;

class TrainingClientTest : public testing::ScriptedServiceTest {
 protected:
  void connect(ClientOptions options) {
    connect_service(std::move(options));
    auto created = service->create_lora_training_client("base").get();
    if (!created.ok()) throw std::runtime_error(created.error().what());
    client.emplace(*std::move(created));
  }
  void connect() { connect(tinker.options()); }

  Future<ForwardBackwardOutput> forward_backward(const std::vector<Datum>& data) {
    return client->forward_backward(data, loss::kCrossEntropy);
  }

  /// What was accepted after the creation of the model, in that order.
  std::vector<Operation> operations() const {
    std::vector<Operation> all = tinker.operations();
    std::erase_if(all, [](const Operation& one) { return one.kind == "create_model"; });
    return all;
  }

  std::optional<TrainingClient> client;
};

std::vector<std::int64_t> first_prompt(const Operation& operation) {
  return operation.batch->data.front().model_input.text_tokens();
}

void expect_ids_from_one(const std::vector<Operation>& operations) {
  for (std::size_t i = 0; i < operations.size(); ++i) {
    EXPECT_EQ(operations[i].seq_id, static_cast<std::int64_t>(i) + 1);
    EXPECT_EQ(operations[i].submissions, 1);
  }
}

// Spec F1.
// Spec T1.
TEST_F(TrainingClientTest, T1_KnowsItsModelAndCountsSequenceIdsFromOne) {
  connect();
  EXPECT_EQ(client->model_id(), "model-1");
  EXPECT_EQ(client->info().model_name, "base");
  EXPECT_EQ(service->session_id(), "session-1");
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(client->optim_step().get().ok());
  ASSERT_EQ(operations().size(), 3u);
  expect_ids_from_one(operations());
  for (const Operation& step : operations()) EXPECT_EQ(step.owner, "model-1");
}

// Spec T4, X1.
TEST_F(TrainingClientTest, T4_X1_ThreeHundredExamplesTravelInThreeChunksAndComeBackAsOne) {
  connect();
  EXPECT_TRUE(answers_batch(forward_backward(batch(300)).get(), 300));
  const auto chunks = operations();
  ASSERT_EQ(chunks.size(), 3u);
  expect_ids_from_one(chunks);
  EXPECT_EQ(chunks[0].examples(), 128u);
  EXPECT_EQ(chunks[1].examples(), 128u);
  EXPECT_EQ(chunks[2].examples(), 44u);
}

// Spec T4.
TEST_F(TrainingClientTest, T4_TheExampleLimitCutsExactly) {
  connect();
  const std::vector<std::pair<std::size_t, std::size_t>> cases{{1, 1},   {127, 1}, {128, 1},
                                                               {129, 2}, {256, 2}, {257, 3}};
  for (const auto& [examples, chunks] : cases) {
    const std::size_t before = count("forward_backward");
    ASSERT_TRUE(answers_batch(forward_backward(batch(examples)).get(), examples));
    EXPECT_EQ(count("forward_backward") - before, chunks) << examples;
  }
}

TEST_F(TrainingClientTest, EmptyBatchIsRefusedBeforeAnythingIsSent) {
  connect();
  auto output = forward_backward({}).get();
  EXPECT_EQ(output.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(count("forward"), 0u);
}

// Spec H1, X2.
TEST_F(TrainingClientTest,
       H1_X2_EachSendBeginsAfterTheReplyToTheOneBeforeEvenWhenSlowOnesComeFirst) {
  connect();
  for (const auto delay : {40ms, 20ms, 0ms}) {
    // 503 makes the client send the same chunk again.
    tinker.plan("forward_backward",
                {.refusals = {Reply::json("{}", 503).after(delay)}, .submit_delay = delay});
  }
  ASSERT_TRUE(answers_batch(forward_backward(batch(400)).get(), 400));
  const auto log = requests("forward_backward");
  ASSERT_EQ(log.size(), 7u) << "four chunks, three of them twice";
  for (std::size_t i = 1; i < log.size(); ++i) {
    EXPECT_GT(log[i].began.order, log[i - 1].replied.order) << i;
  }
  EXPECT_EQ(tinker.server().max_in_flight(TinkerScript::path("forward_backward")), 1u);
}

// Spec H1.
TEST_F(TrainingClientTest, H1_ResultsArePolledSideBySide) {
  connect();
  auto gate = std::make_shared<Gate>();
  for (int i = 0; i < 4; ++i) tinker.plan("forward_backward", held_by(gate));
  auto output = forward_backward(batch(512));
  EXPECT_TRUE(wait_for_requests(5, "retrieve_future")) << "one for the model, four for the chunks";
  EXPECT_EQ(tinker.server().max_in_flight(TinkerScript::path("retrieve_future")), 4u);
  gate->open();
  EXPECT_TRUE(answers_batch(output.get(), 512));
  for (const Operation& chunk : operations()) EXPECT_EQ(chunk.polls, 2);
}

// Spec T7.
TEST_F(TrainingClientTest, T7_TheNextCallsSendBeginsBeforeTheFirstCallsResult) {
  connect();
  auto gate = std::make_shared<Gate>();
  tinker.plan("forward_backward", held_by(gate));
  auto first = forward_backward(batch(1));
  auto step = client->optim_step();
  EXPECT_TRUE(step.get().ok()) << "accepted and answered while the first result is held back";
  EXPECT_FALSE(first.ready());
  gate->open();
  EXPECT_TRUE(answers_batch(first.get(), 1));
}

// Spec H1.
TEST_F(TrainingClientTest, H1_TwoPollStepsRunWhileAThirdSendHoldsTheSendMutex) {
  connect();
  auto sending = std::make_shared<Gate>();
  auto one = forward_backward(batch(1));
  auto two = forward_backward(batch(1));
  ASSERT_TRUE(one.get().ok());
  ASSERT_TRUE(two.get().ok());
  tinker.plan("forward_backward", {.submit_gate = sending});
  auto third = forward_backward(batch(1));
  ASSERT_TRUE(wait_for_requests(3, "forward_backward"));

  // Two continuations, each an arena task like any poll step, meet while the send is under way.
  std::atomic<int> inside{0};
  const auto meet = [&inside](auto) {
    ++inside;
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (inside.load() < 2 && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
    return inside.load() == 2;
  };
  auto left = std::move(one).then(meet);
  auto right = std::move(two).then(meet);
  EXPECT_TRUE(*left.get());
  EXPECT_TRUE(*right.get());
  EXPECT_FALSE(third.ready());
  sending->open();
  EXPECT_TRUE(answers_batch(third.get(), 1));
}

// Spec H6.
TEST_F(TrainingClientTest, H6_CallsOfTwoThreadsNeverInterleaveInsideABatch) {
  connect();
  std::vector<std::thread> threads;
  for (std::int64_t thread = 0; thread < 2; ++thread) {
    threads.emplace_back([this, thread] {
      for (int round = 0; round < 5; ++round) {
        auto output = client->forward_backward(batch(200, thread * 1000), loss::kCrossEntropy);
        auto step = client->optim_step();
        EXPECT_TRUE(answers_batch(output.get(), 200, thread * 1000));
        EXPECT_TRUE(step.get().ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<Operation> sent = operations();
  ASSERT_EQ(sent.size(), 30u);
  expect_ids_from_one(sent);
  int batches = 0;
  for (std::size_t i = 0; i < sent.size(); ++i) {
    if (sent[i].examples() != 128) continue;
    ++batches;
    ASSERT_LT(i + 1, sent.size());
    ASSERT_EQ(sent[i + 1].examples(), 72u) << "the second chunk follows the first";
    EXPECT_EQ(first_prompt(sent[i + 1]).front(), first_prompt(sent[i]).front() + 128);
  }
  EXPECT_EQ(batches, 10);
}

// Spec T3.
TEST_F(TrainingClientTest, T3_TheCallersMemoryMayBeReusedOnceTheCallReturned) {
  connect();
  auto gate = std::make_shared<Gate>();
  tinker.plan("optim_step", {.refusals = {Reply::json("{}", 503).held_by(gate)}});
  auto blocking = client->optim_step();  // holds the wire, so the batch is still queued below
  std::vector<std::int64_t> tokens{42, 1, 2};
  Datum example = datum(5);
  example.model_input =
      ModelInput::from_tokens(TensorData::view(tokens.data(), DType::kInt64, {3}));
  auto output = client->forward_backward(std::span(&example, 1), loss::kCrossEntropy);
  tokens.assign(3, 7);
  example = datum(7);
  gate->open();
  EXPECT_TRUE(answers_batch(output.get(), 1, 5));
  EXPECT_EQ(first_prompt(operations().back()), (std::vector<std::int64_t>{42, 1, 2}));
}

// Spec T10.
TEST_F(TrainingClientTest, T10_ChunksAnsweredInReverseComeBackInOrder) {
  connect();
  std::vector<std::shared_ptr<Gate>> gates;
  for (int i = 0; i < 3; ++i) {
    gates.push_back(std::make_shared<Gate>());
    tinker.plan("forward_backward", {.result_gate = gates.back()});
  }
  auto output = forward_backward(batch(300));
  ASSERT_TRUE(wait_for_requests(4, "retrieve_future"));
  const auto chunks = operations();
  ASSERT_EQ(chunks.size(), 3u);
  for (const std::size_t i : {2u, 1u, 0u}) {
    EXPECT_FALSE(output.ready());
    gates[i]->open();
    EXPECT_TRUE(wait_for_answer(chunks[i]));
  }
  EXPECT_TRUE(answers_batch(output.get(), 300));
}

// Spec C3.
TEST_F(TrainingClientTest,
       C3_ARefusedChunkStopsTheBatchNamesWhatWasAcceptedAndLeavesTheClientUsable) {
  connect();
  tinker.plan("forward_backward",
              {.refusals = {Reply::json("{}", 503), Reply::json(R"({"detail":"no"})", 413)}});
  // 503 is repeated and then refused: chunk one of four.
  auto output = forward_backward(batch(512)).get();
  ASSERT_FALSE(output.ok());
  EXPECT_EQ(output.error().http_status(), 413);
  EXPECT_EQ(output.error().chunk(), 0u);
  EXPECT_EQ(output.error().total_chunks(), 4u);
  EXPECT_TRUE(output.error().accepted_request_ids().empty());
  EXPECT_EQ(count("forward_backward"), 2u) << "the other three chunks never left";
  EXPECT_TRUE(answers_batch(forward_backward(batch(1)).get(), 1));
  EXPECT_EQ(operations().front().seq_id, 2) << "after a 503 nobody knows whether 1 was accepted";
}

// Spec C3.
TEST_F(TrainingClientTest, C3_AcceptedChunksOfAFailedBatchAreStillPolledToTheirEnd) {
  connect();
  tinker.plan("forward_backward", {.polls = {TinkerScript::try_again("active", 5ms)},
                                   .result = TinkerScript::failed("x", "user")});
  tinker.plan("forward_backward", {.refusals = {Reply::json(R"({"detail":"full"})", 413)}});
  auto output = forward_backward(batch(400)).get();
  ASSERT_FALSE(output.ok());
  EXPECT_EQ(output.error().http_status(), 413);
  EXPECT_EQ(output.error().chunk(), 1u);
  EXPECT_TRUE(wait_for_requests(3, "retrieve_future"));
  ASSERT_EQ(operations().size(), 1u);
  const std::string accepted = operations().front().request_id;
  EXPECT_EQ(output.error().accepted_request_ids(), std::vector<std::string>{accepted});
  EXPECT_NE(requests("retrieve_future").back().body.find(accepted), std::string::npos);
  EXPECT_EQ(count("forward_backward"), 2u) << "chunks three and four never left";
}

// Spec T16.
TEST_F(TrainingClientTest, T16_AFailedChunkEndsTheCallAndStopsThePendingPolls) {
  connect();
  auto gate = std::make_shared<Gate>();
  auto failing = std::make_shared<Gate>();
  tinker.plan("forward_backward",
              {.result_gate = failing, .result = TinkerScript::failed("loss is NaN", "user")});
  tinker.plan("forward_backward", held_by(gate));
  auto pending = forward_backward(batch(200));
  ASSERT_TRUE(wait_for_requests(3, "retrieve_future")) << "both chunks are asked for";
  failing->open();
  const auto output = pending.get();
  ASSERT_FALSE(output.ok());
  EXPECT_EQ(output.error().code(), ErrorCode::kRequestFailed);
  EXPECT_EQ(output.error().category(), ErrorCategory::kUser);
  EXPECT_EQ(output.error().request_id(), operations().front().request_id);
  EXPECT_TRUE(wait_for_abandoned_poll());
  gate->open();
  EXPECT_TRUE(client->optim_step().get().ok());
  EXPECT_EQ(operations()[1].polls, 1);
}

TEST_F(TrainingClientTest, Trap7_ARepeatedSendCarriesTheSameIdAndTheSameBytes) {
  connect();
  tinker.plan("forward_backward",
              {.refusals = {Reply::hang_up(Fault::kReset), Reply::json("{}", 500)}});
  ASSERT_TRUE(answers_batch(forward_backward(batch(2)).get(), 2));
  const auto log = requests("forward_backward");
  ASSERT_EQ(log.size(), 3u);
  EXPECT_EQ(log[0].body, log[1].body);
  EXPECT_EQ(log[1].body, log[2].body);
  ASSERT_EQ(operations().size(), 1u);
  EXPECT_EQ(operations().front().seq_id, 1);
  EXPECT_EQ(operations().front().submissions, 3);
}

// Spec T11.
// Spec X4, T13.
TEST_F(TrainingClientTest, X4_T13_OptimStepSucceedsFailsAndMayBeAnsweredAtOnce) {
  connect();
  auto step = client->optim_step({.learning_rate = 0.5}).get();
  ASSERT_TRUE(step.ok());
  EXPECT_EQ(step->metrics.at("learning_rate"), 0.5);
  EXPECT_NE(operations().front().body.find("\"learning_rate\":0.5"), std::string::npos);

  tinker.plan("optim_step", {.result = TinkerScript::failed("no gradients", "user")});
  EXPECT_EQ(client->optim_step().get().error().code(), ErrorCode::kRequestFailed);

  tinker.plan("optim_step",
              {.result = Reply::json(R"({"metrics":{"grad_norm":2.5}})"), .immediate = true});
  EXPECT_EQ(client->optim_step().get()->metrics.at("grad_norm"), 2.5);
  EXPECT_EQ(operations().back().polls, 0);

  EXPECT_EQ(client->optim_step({.learning_rate = -1}).get().error().code(),
            ErrorCode::kInvalidArgument);
}

// Spec T14.
TEST_F(TrainingClientTest, T14_SaveForSamplerWorksWithAFutureAndWithAnImmediateResult) {
  connect();
  EXPECT_EQ(client->save_weights_for_sampler("w").get()->path,
            "tinker://model-1/sampler_weights/w");
  EXPECT_EQ(operations().back().polls, 1);
  tinker.plan("save_weights_for_sampler", {.immediate = true});
  EXPECT_EQ(client->save_weights_for_sampler("v").get()->path,
            "tinker://model-1/sampler_weights/v");
  EXPECT_EQ(operations().back().polls, 0);
}

// Spec T2.
TEST_F(TrainingClientTest, T2_AnEphemeralSaveGivesASamplingClientOfThatSession) {
  connect();
  auto sampler = client->save_weights_and_get_sampling_client().get();
  ASSERT_TRUE(sampler.ok()) << sampler.error().what();
  EXPECT_EQ(sampler->session_id(), "sampler-of-" + operations().back().request_id);
  EXPECT_TRUE(sampler->sample(ModelInput::from_tokens({1, 2})).get().ok());
  EXPECT_EQ(tinker.operations("asample").back().owner, sampler->session_id());
}

TEST_F(TrainingClientTest, StatesAreSavedAndLoadedInOrder) {
  connect();
  auto saved = client->save_state("w");
  auto loaded = client->load_state("tinker://x/weights/w");
  EXPECT_EQ(saved.get()->path, "tinker://model-1/weights/w");
  const LoadWeightsResponse load = loaded.get().value();
  EXPECT_EQ(load.model_id, "model-1");
  EXPECT_EQ(load.path, "tinker://x/weights/w");
  ASSERT_EQ(operations().size(), 2u);
  expect_ids_from_one(operations());
  EXPECT_EQ(operations()[0].kind, "save_weights");
  EXPECT_EQ(operations()[1].kind, "load_weights");
  EXPECT_EQ(client->save_state("../x").get().error().code(), ErrorCode::kInvalidArgument);
}

// Spec T12.
TEST_F(TrainingClientTest, T12_ClosingSettlesEveryOutstandingFuture) {
  connect();
  auto gate = std::make_shared<Gate>();
  tinker.plan("forward_backward", held_by(gate));
  tinker.plan("forward_backward", {.polls = {TinkerScript::try_again("active", 30s)}});
  tinker.plan("optim_step", {.submit_gate = gate});
  auto polling = forward_backward(batch(1));
  auto pausing = forward_backward(batch(1));
  auto sending = client->optim_step();
  auto queued = client->optim_step();
  ASSERT_TRUE(wait_for_requests(1, "optim_step"));
  ASSERT_TRUE(wait_for_requests(3, "retrieve_future"));
  service->close();
  for (const Error& error : {polling.get().error(), pausing.get().error(), sending.get().error(),
                             queued.get().error()}) {
    EXPECT_EQ(error.code(), ErrorCode::kClosed) << error.what();
  }
  EXPECT_EQ(client->optim_step().get().error().code(), ErrorCode::kClosed);
  EXPECT_EQ(count("optim_step"), 1u) << "the queued one never left";
  gate->open();
}

// Spec T12.
TEST_F(TrainingClientTest, T12_DroppedFuturesAndClientsDoNoHarm) {
  connect();
  { auto dropped = forward_backward(batch(300)); }
  { auto dropped = client->optim_step(); }
  client.reset();
  service.reset();
}

TEST_F(TrainingClientTest, CancelStopsThePollAndTheClientGoesOn) {
  connect();
  auto gate = std::make_shared<Gate>();
  tinker.plan("forward_backward", held_by(gate));
  auto output = forward_backward(batch(1));
  ASSERT_TRUE(wait_for_requests(2, "retrieve_future"));
  output.cancel();
  EXPECT_EQ(output.get().error().code(), ErrorCode::kCancelled);
  EXPECT_TRUE(wait_for_abandoned_poll());
  EXPECT_TRUE(client->optim_step().get().ok());
  EXPECT_EQ(operations().front().polls, 1);
  gate->open();
}

// Spec T15.
TEST_F(TrainingClientTest, T15_ABusyWireDelaysNeitherTheCallerNorTheHeartbeat) {
  ClientOptions options = tinker.options();
  options.heartbeat_interval = 10ms;
  connect(std::move(options));
  auto gate = std::make_shared<Gate>();
  tinker.plan("forward_backward", {.refusals = {Reply::json("{}", 503).held_by(gate)}});
  auto first = forward_backward(batch(512));
  auto second = client->optim_step();  // returned although the wire is held
  ASSERT_TRUE(wait_for_requests(1, "forward_backward"));
  EXPECT_TRUE(wait_for_requests(count("session_heartbeat") + 3, "session_heartbeat"));
  EXPECT_EQ(count("forward_backward"), 1u);
  EXPECT_EQ(count("optim_step"), 0u);
  gate->open();
  EXPECT_TRUE(answers_batch(first.get(), 512));
  EXPECT_TRUE(second.get().ok());
}

TEST_F(TrainingClientTest, ForwardGoesThroughTheSameOrderWithoutGradients) {
  connect();
  EXPECT_TRUE(answers_batch(client->forward(batch(2), loss::kCrossEntropy).get(), 2));
  EXPECT_TRUE(client->optim_step().get().ok());
  ASSERT_EQ(operations().size(), 2u);
  expect_ids_from_one(operations());
  const Operation forward = operations().front();
  EXPECT_EQ(target_of(forward), TinkerScript::path("forward_backward"));
  const auto decoded = wire::proto_codec().decode_request(forward.body, false);
  ASSERT_TRUE(decoded.ok());
  EXPECT_TRUE(decoded->forward_only);
}

TEST_F(TrainingClientTest, TheWholePathWorksInJsonToo) {
  ClientOptions options = tinker.options();
  options.wire_format = WireFormat::kJson;
  connect(std::move(options));
  EXPECT_TRUE(answers_batch(forward_backward(batch(130)).get(), 130));
  EXPECT_TRUE(answers_batch(client->forward(batch(1), loss::kCrossEntropy).get(), 1));
  ASSERT_EQ(operations().size(), 3u);
  expect_ids_from_one(operations());
  EXPECT_EQ(target_of(operations()[2]), TinkerScript::path("forward"));
  for (const auto& request : requests("forward")) {
    EXPECT_EQ(request.header("content-type"), "application/json");
  }
}

// Spec H12.
TEST_F(TrainingClientTest, H12_ConcurrentCreationsGetDifferentNumbers) {
  connect();
  std::vector<Future<TrainingClient>> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(service->create_lora_training_client("base"));
  std::set<std::string> models{client->model_id()};
  for (auto& made : clients) models.insert(made.get().value().model_id());
  EXPECT_EQ(models.size(), 21u);
  std::set<std::string> bodies;
  for (const auto& request : requests("create_model")) bodies.insert(request.body);
  EXPECT_EQ(bodies.size(), 21u);
}

TEST_F(TrainingClientTest, ServerLimitsLowerTheChunks) {
  script("client/config", {Reply::json(R"({"fwdbwd_max_chunk_len":10})")});
  connect();
  ASSERT_TRUE(answers_batch(forward_backward(batch(25)).get(), 25));
  const auto chunks = operations();
  ASSERT_EQ(chunks.size(), 3u);
  EXPECT_EQ(chunks[0].examples(), 10u);
  EXPECT_EQ(chunks[1].examples(), 10u);
  EXPECT_EQ(chunks[2].examples(), 5u);
}

}  // namespace
}  // namespace tinkex
