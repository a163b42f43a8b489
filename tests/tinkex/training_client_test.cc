#include "tinkex/training_client.h"

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/tinker_server.h"
#include "tinkex/service_client.h"

namespace tinkex {
namespace {

using namespace std::chrono_literals;
using mocks::Fault;
using mocks::Gate;
using mocks::Reply;
using testing::Operation;
using testing::TinkerServer;

Datum datum(std::int64_t token) {
  Datum made;
  made.model_input = ModelInput::from_tokens(std::vector<std::int64_t>{token, 1, 2});
  made.loss_fn_inputs = {{"target_tokens", TensorData::from(std::vector<std::int64_t>{1, 2, 3})},
                         {"weights", TensorData::from(std::vector<float>{1, 1, 1})}};
  return made;
}

std::vector<Datum> batch(std::size_t size, std::int64_t first_token = 0) {
  std::vector<Datum> data;
  for (std::size_t i = 0; i < size; ++i) {
    data.push_back(datum(first_token + static_cast<std::int64_t>(i)));
  }
  return data;
}

class TrainingClientTest : public ::testing::Test {
 protected:
  TrainingClient& connect(ClientOptions options) {
    auto connected = ServiceClient::connect(std::move(options));
    if (!connected.ok()) throw std::runtime_error(connected.error().what());
    service.emplace(*std::move(connected));
    auto created = service->create_lora_training_client("base").get();
    if (!created.ok()) throw std::runtime_error(created.error().what());
    client.emplace(*std::move(created));
    return *client;
  }
  TrainingClient& connect() { return connect(tinker.options()); }

  Future<ForwardBackwardOutput> forward_backward(const std::vector<Datum>& data) {
    return client->forward_backward(data, loss::kCrossEntropy);
  }

  TinkerServer tinker;
  std::optional<ServiceClient> service;
  std::optional<TrainingClient> client;
};

TEST_F(TrainingClientTest, T1_KnowsItsModelAndCountsSequenceIdsFromOne) {
  connect();
  EXPECT_EQ(client->model_id(), "s1:train:0");
  EXPECT_EQ(client->info().model_name, "base");
  EXPECT_EQ(service->session_id(), "s1");
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(client->optim_step().get().ok());
  const auto operations = tinker.operations();
  ASSERT_EQ(operations.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(operations[i].seq_id, static_cast<int>(i) + 1);
}

TEST_F(TrainingClientTest, T4_X1_ThreeHundredExamplesTravelInThreeChunksAndComeBackAsOne) {
  connect();
  auto output = forward_backward(batch(300)).get();
  ASSERT_TRUE(output.ok()) << output.error().what();
  ASSERT_EQ(output->loss_fn_outputs.size(), 300u);
  for (std::size_t i = 0; i < 300; ++i) {
    EXPECT_EQ(find(output->loss_fn_outputs[i], "logprobs")->to_floats().front(),
              static_cast<float>(i));
  }
  EXPECT_EQ(output->metrics.at("loss:sum"), 300);
  const auto operations = tinker.operations();
  ASSERT_EQ(operations.size(), 3u);
  EXPECT_EQ(operations[0].examples, 128u);
  EXPECT_EQ(operations[1].examples, 128u);
  EXPECT_EQ(operations[2].examples, 44u);
}

TEST_F(TrainingClientTest, T4_TheExampleLimitCutsExactly) {
  connect();
  const std::vector<std::pair<std::size_t, std::size_t>> cases{{1, 1},   {127, 1}, {128, 1},
                                                               {129, 2}, {256, 2}, {257, 3}};
  for (const auto& [examples, chunks] : cases) {
    const std::size_t before = tinker.operations().size();
    ASSERT_TRUE(forward_backward(batch(examples)).get().ok());
    EXPECT_EQ(tinker.operations().size() - before, chunks) << examples;
  }
}

TEST_F(TrainingClientTest, EmptyBatchIsRefusedBeforeAnythingIsSent) {
  connect();
  auto output = forward_backward({}).get();
  EXPECT_EQ(output.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(tinker.operations().empty());
}

TEST_F(TrainingClientTest,
       H1_X2_EachSendBeginsAfterTheReplyToTheOneBeforeEvenWhenSlowOnesComeFirst) {
  connect();
  for (const auto delay : {40ms, 20ms, 0ms}) {
    // Passed over by the happy path once used up; 503 makes the client send the same chunk again.
    tinker.script("forward_backward", {Reply::json("{}", 503).after(delay)});
  }
  ASSERT_TRUE(forward_backward(batch(400)).get().ok());
  const auto log = tinker.server().log(TinkerServer::path("forward_backward"));
  for (std::size_t i = 1; i < log.size(); ++i) {
    EXPECT_GT(log[i].began.order, log[i - 1].replied.order) << i;
  }
  EXPECT_EQ(tinker.server().max_in_flight(TinkerServer::path("forward_backward")), 1u);
}

TEST_F(TrainingClientTest, H1_ResultsArePolledSideBySide) {
  connect();
  auto gate = std::make_shared<Gate>();
  for (const char* id : {"fb-1", "fb-2", "fb-3", "fb-4"}) {
    tinker.script_poll(id, {Reply::json(R"({"type":"try_again"})").held_by(gate)});
  }
  auto output = forward_backward(batch(512));
  EXPECT_TRUE(tinker.server().wait_for_requests(5, 10s, TinkerServer::path("retrieve_future")));
  EXPECT_EQ(tinker.server().max_in_flight(TinkerServer::path("retrieve_future")), 4u);
  gate->open();
  EXPECT_TRUE(output.get().ok());
}

TEST_F(TrainingClientTest, T7_TheNextCallsSendBeginsBeforeTheFirstCallsResult) {
  connect();
  auto gate = std::make_shared<Gate>();
  tinker.script_poll("fb-1", {Reply::json(R"({"type":"try_again"})").held_by(gate)});
  auto first = forward_backward(batch(1));
  auto step = client->optim_step();
  EXPECT_TRUE(step.get().ok()) << "accepted and answered while the first result is held back";
  EXPECT_FALSE(first.ready());
  gate->open();
  EXPECT_TRUE(first.get().ok());
}

TEST_F(TrainingClientTest, H1_TwoPollStepsRunWhileAThirdSendHoldsTheSendMutex) {
  connect();
  auto sending = std::make_shared<Gate>();
  auto one = forward_backward(batch(1));
  auto two = forward_backward(batch(1));
  ASSERT_TRUE(one.get().ok());
  ASSERT_TRUE(two.get().ok());
  tinker.script("forward_backward", {Reply::json("{}", 503).held_by(sending)});
  auto third = forward_backward(batch(1));
  ASSERT_TRUE(tinker.server().wait_for_requests(3, 10s, TinkerServer::path("forward_backward")));

  // Two continuations, each an arena task like any poll step, meet while the send is under way.
  std::atomic<int> inside{0};
  const auto meet = [&inside](auto) {
    ++inside;
    const auto deadline = std::chrono::steady_clock::now() + 10s;
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
  EXPECT_TRUE(third.get().ok());
}

TEST_F(TrainingClientTest, H6_CallsOfTwoThreadsNeverInterleaveInsideABatch) {
  connect();
  std::vector<std::thread> threads;
  for (std::int64_t thread = 0; thread < 2; ++thread) {
    threads.emplace_back([this, thread] {
      for (int round = 0; round < 5; ++round) {
        auto output = client->forward_backward(batch(200, thread * 1000), loss::kCrossEntropy);
        auto step = client->optim_step();
        EXPECT_TRUE(output.get().ok());
        EXPECT_TRUE(step.get().ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<Operation> operations = tinker.operations();
  ASSERT_EQ(operations.size(), 30u);
  for (std::size_t i = 0; i < operations.size(); ++i) {
    EXPECT_EQ(operations[i].seq_id, static_cast<std::int64_t>(i) + 1);
    if (operations[i].examples != 128) continue;
    ASSERT_LT(i + 1, operations.size());
    EXPECT_EQ(operations[i + 1].examples, 72u) << "the second chunk follows the first";
    EXPECT_EQ(operations[i + 1].first_tokens.front(), operations[i].first_tokens.front() + 128);
  }
}

TEST_F(TrainingClientTest, T3_TheCallersMemoryMayBeReusedOnceTheCallReturned) {
  connect();
  auto gate = std::make_shared<Gate>();
  tinker.script("optim_step", {Reply::json("{}", 503).held_by(gate)});
  auto blocking = client->optim_step();  // holds the wire, so the batch is still queued below
  std::vector<std::int64_t> tokens{42, 1, 2};
  Datum example = datum(0);
  example.model_input =
      ModelInput::from_tokens(TensorData::view(tokens.data(), DType::kInt64, {3}));
  auto output = client->forward_backward(std::span(&example, 1), loss::kCrossEntropy);
  tokens.assign(3, 7);
  gate->open();
  ASSERT_TRUE(output.get().ok());
  EXPECT_EQ(tinker.operations().back().first_tokens.front(), 42);
}

TEST_F(TrainingClientTest, T10_ChunksAnsweredInReverseComeBackInOrder) {
  connect();
  std::vector<std::shared_ptr<Gate>> gates;
  for (const char* id : {"fb-1", "fb-2", "fb-3"}) {
    gates.push_back(std::make_shared<Gate>());
    tinker.script_poll(id, {Reply::json(R"({"type":"try_again"})").held_by(gates.back())});
  }
  auto output = forward_backward(batch(300));
  ASSERT_TRUE(tinker.server().wait_for_requests(4, 10s, TinkerServer::path("retrieve_future")));
  for (auto gate = gates.rbegin(); gate != gates.rend(); ++gate) (*gate)->open();
  const auto result = std::move(output).get();
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(find(result->loss_fn_outputs[299], "logprobs")->to_floats().front(), 299);
}

TEST_F(TrainingClientTest,
       C3_ARefusedChunkStopsTheBatchNamesWhatWasAcceptedAndLeavesTheClientUsable) {
  connect();
  tinker.script("forward_backward",
                {Reply::json("{}", 503), Reply::json(R"({"detail":"no"})", 422)});
  // 503 is repeated and then refused: chunk one of four.
  auto output = forward_backward(batch(512)).get();
  ASSERT_FALSE(output.ok());
  EXPECT_EQ(output.error().http_status(), 422);
  EXPECT_EQ(output.error().chunk(), 0u);
  EXPECT_EQ(output.error().total_chunks(), 4u);
  EXPECT_TRUE(output.error().accepted_request_ids().empty());
  EXPECT_TRUE(forward_backward(batch(1)).get().ok());
}

TEST_F(TrainingClientTest, C3_AcceptedChunksOfAFailedBatchAreStillPolledToTheirEnd) {
  connect();
  int calls = 0;
  tinker.server().handle("POST", TinkerServer::path("forward_backward"),
                         [&calls](const mocks::LoggedRequest&) {
                           return ++calls == 1 ? Reply::json(R"({"request_id":"only"})")
                                               : Reply::json(R"({"detail":"full"})", 413);
                         });
  tinker.script_poll("only", {Reply::json(R"({"type":"try_again","retry_after_ms":5})"),
                              Reply::json(R"({"error":"x","category":"user"})")});
  auto output = forward_backward(batch(400)).get();
  ASSERT_FALSE(output.ok());
  EXPECT_EQ(output.error().accepted_request_ids(), std::vector<std::string>{"only"});
  EXPECT_EQ(output.error().chunk(), 1u);
  EXPECT_TRUE(tinker.server().wait_for_requests(3, 10s, TinkerServer::path("retrieve_future")));
  EXPECT_EQ(calls, 2) << "chunks three and four never left";
}

TEST_F(TrainingClientTest, T16_AFailedChunkEndsTheCallAndStopsThePendingPolls) {
  connect();
  auto gate = std::make_shared<Gate>();
  tinker.script_poll("fb-1", {Reply::json(R"({"error":"loss is NaN","category":"user"})")});
  tinker.script_poll("fb-2", {Reply::json(R"({"type":"try_again"})").held_by(gate)});
  auto output = forward_backward(batch(200)).get();
  ASSERT_FALSE(output.ok());
  EXPECT_EQ(output.error().code(), ErrorCode::kRequestFailed);
  EXPECT_EQ(output.error().category(), ErrorCategory::kUser);
  EXPECT_EQ(output.error().request_id(), "fb-1");
  gate->open();
}

TEST_F(TrainingClientTest, X3_T8_ABrokenPollNeverHangsAndTheClientGoesOn) {
  connect();
  const std::vector<Reply> faults{
      Reply::broken(Fault::kReset, 1000, 10), Reply::broken(Fault::kClose, 1000, 10),
      Reply::hang_up(), Reply::hang_up(Fault::kReset), Reply::garbage("\x01\x02 not HTTP\r\n\r\n")};
  std::int64_t seq_id = 0;
  for (const Reply& fault : faults) {
    tinker.script_poll("fb-" + std::to_string(++seq_id), {fault});
    const auto output = forward_backward(batch(1)).get();
    ASSERT_TRUE(output.ok()) << "not asked again: " << output.error().what();
  }
  const std::vector<Reply> nonsense{Reply::json("<html>oops"), Reply::protobuf("\xff\xff\xff"),
                                    Reply::with_type("text/plain", "[1,2"),
                                    Reply::json(R"({"loss_fn_outputs":5})")};
  for (const Reply& reply : nonsense) {
    tinker.script_poll("fb-" + std::to_string(++seq_id), {reply});
    auto output = forward_backward(batch(1)).get();
    ASSERT_FALSE(output.ok()) << reply.body;
    EXPECT_EQ(output.error().code(), ErrorCode::kDecode) << output.error().what();
  }
  EXPECT_TRUE(forward_backward(batch(1)).get().ok());
}

TEST_F(TrainingClientTest, Trap7_ARepeatedSendCarriesTheSameIdAndTheSameBytes) {
  connect();
  tinker.script("forward_backward", {Reply::hang_up(Fault::kReset), Reply::json("{}", 500)});
  ASSERT_TRUE(forward_backward(batch(2)).get().ok());
  const auto log = tinker.server().log(TinkerServer::path("forward_backward"));
  ASSERT_EQ(log.size(), 3u);
  EXPECT_EQ(log[0].body, log[1].body);
  EXPECT_EQ(log[1].body, log[2].body);
}

TEST_F(TrainingClientTest, X4_T13_OptimStepSucceedsFailsAndMayBeAnsweredAtOnce) {
  connect();
  auto step = client->optim_step({.learning_rate = 0.5}).get();
  ASSERT_TRUE(step.ok());
  EXPECT_EQ(step->metrics.at("grad_norm"), 1.5);
  EXPECT_NE(tinker.operations().front().request.body.find("\"learning_rate\":0.5"),
            std::string::npos);

  tinker.script_poll("op-2", {Reply::json(R"({"error":"no gradients","category":"user"})")});
  EXPECT_EQ(client->optim_step().get().error().code(), ErrorCode::kRequestFailed);

  tinker.script("optim_step", {Reply::json(R"({"metrics":{"grad_norm":2.5}})")});
  EXPECT_EQ(client->optim_step().get()->metrics.at("grad_norm"), 2.5);

  EXPECT_EQ(client->optim_step({.learning_rate = -1}).get().error().code(),
            ErrorCode::kInvalidArgument);
}

TEST_F(TrainingClientTest, T14_SaveForSamplerWorksWithAFutureAndWithAnImmediateResult) {
  connect();
  EXPECT_EQ(client->save_weights_for_sampler("w").get()->path,
            "tinker://s1:train:0/sampler_weights/w");
  tinker.script("save_weights_for_sampler",
                {Reply::json(R"({"path":"tinker://s1:train:0/sampler_weights/v"})")});
  EXPECT_EQ(client->save_weights_for_sampler("v").get()->path,
            "tinker://s1:train:0/sampler_weights/v");
}

TEST_F(TrainingClientTest, T2_AnEphemeralSaveGivesASamplingClientOfThatSession) {
  connect();
  auto sampler = client->save_weights_and_get_sampling_client().get();
  ASSERT_TRUE(sampler.ok()) << sampler.error().what();
  EXPECT_EQ(sampler->session_id(), "ss2");
  EXPECT_TRUE(sampler->sample(ModelInput::from_tokens({1, 2})).get().ok());
}

TEST_F(TrainingClientTest, StatesAreSavedAndLoadedInOrder) {
  connect();
  auto saved = client->save_state("w");
  auto loaded = client->load_state("tinker://x/weights/w");
  EXPECT_EQ(saved.get()->path, "tinker://s1:train:0/weights/w");
  EXPECT_EQ(loaded.get()->model_id, "s1:train:0");
  EXPECT_EQ(client->save_state("../x").get().error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(TrainingClientTest, T12_ClosingSettlesEveryOutstandingFuture) {
  connect();
  auto gate = std::make_shared<Gate>();
  tinker.script_poll("fb-1", {Reply::json(R"({"type":"try_again"})").held_by(gate)});
  tinker.script_poll("fb-2", {Reply::json(R"({"type":"try_again","retry_after_ms":30000})")});
  tinker.script("optim_step", {Reply::json("{}").held_by(gate)});
  auto polling = forward_backward(batch(1));
  auto pausing = forward_backward(batch(1));
  auto sending = client->optim_step();
  auto queued = client->optim_step();
  ASSERT_TRUE(tinker.server().wait_for_requests(1, 10s, TinkerServer::path("optim_step")));
  service->close();
  for (const Error& error : {polling.get().error(), pausing.get().error(), sending.get().error(),
                             queued.get().error()}) {
    EXPECT_EQ(error.code(), ErrorCode::kClosed) << error.what();
  }
  EXPECT_EQ(client->optim_step().get().error().code(), ErrorCode::kClosed);
  gate->open();
}

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
  tinker.script_poll("fb-1", {Reply::json(R"({"type":"try_again"})").held_by(gate)});
  auto output = forward_backward(batch(1));
  ASSERT_TRUE(tinker.server().wait_for_requests(2, 10s, TinkerServer::path("retrieve_future")));
  output.cancel();
  EXPECT_EQ(output.get().error().code(), ErrorCode::kCancelled);
  EXPECT_TRUE(client->optim_step().get().ok());
  gate->open();
}

TEST_F(TrainingClientTest, T15_ABusyWireDelaysNeitherTheCallerNorTheHeartbeat) {
  ClientOptions options = tinker.options();
  options.heartbeat_interval = 10ms;
  connect(std::move(options));
  auto gate = std::make_shared<Gate>();
  tinker.script("forward_backward", {Reply::json("{}", 503).held_by(gate)});
  auto first = forward_backward(batch(512));
  auto second = client->optim_step();  // returned although the wire is held
  ASSERT_TRUE(tinker.server().wait_for_requests(1, 10s, TinkerServer::path("forward_backward")));
  const std::size_t beats = tinker.server().count(TinkerServer::path("session_heartbeat"));
  EXPECT_TRUE(
      tinker.server().wait_for_requests(beats + 3, 10s, TinkerServer::path("session_heartbeat")));
  EXPECT_EQ(tinker.server().count(TinkerServer::path("optim_step")), 0u);
  gate->open();
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(second.get().ok());
}

TEST_F(TrainingClientTest, ForwardGoesThroughTheSameOrderWithoutGradients) {
  connect();
  ASSERT_TRUE(client->forward(batch(2), loss::kCrossEntropy).get().ok());
  const auto operations = tinker.operations();
  ASSERT_EQ(operations.size(), 1u);
  const auto decoded = wire::proto_codec().decode_request(operations[0].request.body, false);
  ASSERT_TRUE(decoded.ok());
  EXPECT_TRUE(decoded->forward_only);
}

TEST_F(TrainingClientTest, TheWholePathWorksInJsonToo) {
  ClientOptions options = tinker.options();
  options.wire_format = WireFormat::kJson;
  connect(std::move(options));
  EXPECT_TRUE(forward_backward(batch(130)).get().ok());
  EXPECT_TRUE(client->forward(batch(1), loss::kCrossEntropy).get().ok());
  const auto operations = tinker.operations();
  ASSERT_EQ(operations.size(), 3u);
  EXPECT_EQ(operations[2].path, TinkerServer::path("forward"));
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(operations[i].seq_id, static_cast<int>(i) + 1);
}

TEST_F(TrainingClientTest, H12_ConcurrentCreationsGetDifferentNumbers) {
  connect();
  std::vector<Future<TrainingClient>> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(service->create_lora_training_client("base"));
  for (auto& made : clients) EXPECT_TRUE(made.get().ok());
  std::set<std::string> bodies;
  for (const auto& request : tinker.server().log(TinkerServer::path("create_model"))) {
    bodies.insert(request.body);
  }
  EXPECT_EQ(bodies.size(), 21u);
}

TEST_F(TrainingClientTest, ServerLimitsLowerTheChunks) {
  tinker.script("client/config", {Reply::json(R"({"fwdbwd_max_chunk_len":10})")});
  connect();
  ASSERT_TRUE(forward_backward(batch(25)).get().ok());
  EXPECT_EQ(tinker.operations().size(), 3u);
}

TEST(ServiceClientTest, AServerThatIsNotThereGivesOneReadableSentence) {
  ClientOptions options;
  options.base_url = "http://127.0.0.1:9";
  options.retry.max_attempts = 1;
  auto connected = ServiceClient::connect(std::move(options));
  ASSERT_FALSE(connected.ok());
  EXPECT_EQ(connected.error().code(), ErrorCode::kConnection);
  EXPECT_NE(connected.error().message().find("127.0.0.1:9"), std::string::npos);
}

TEST(ServiceClientTest, AKeyOfTheWrongFormIsRefusedWithoutShowingIt) {
  ClientOptions options;
  options.base_url = "https://example.com";
  options.api_key = "sk-secret-value";
  auto connected = ServiceClient::connect(std::move(options));
  ASSERT_FALSE(connected.ok());
  EXPECT_EQ(connected.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(std::string(connected.error().what()).find("secret"), std::string::npos);
}

TEST(ServiceClientTest, H9_TwoTenantsInOneProcessKeepTheirKeysApart) {
  TinkerServer a;
  TinkerServer b;
  ClientOptions for_a = a.options();
  ClientOptions for_b = b.options();
  for_a.api_key = "tml-a";
  for_b.api_key = "tml-b";
  auto client_a = ServiceClient::connect(std::move(for_a));
  auto client_b = ServiceClient::connect(std::move(for_b));
  ASSERT_TRUE(client_a.ok() && client_b.ok());
  for (const auto& request : a.server().log()) EXPECT_EQ(request.header("x-api-key"), "tml-a");
  for (const auto& request : b.server().log()) EXPECT_EQ(request.header("x-api-key"), "tml-b");
}

}  // namespace
}  // namespace tinkex
