#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/scripted_service.h"
#include "tinkex/training_client.h"
#include "tinkex/wire/codec.h"

namespace tinkex {
namespace {

using mocks::Gate;
using mocks::Operation;
using mocks::OperationPlan;
using mocks::Reply;
using mocks::TinkerScript;
using testing::answers_batch;
using testing::batch;
using ::testing::HasSubstr;

constexpr char kJsonType[] = "application/json";
constexpr char kProtoType[] = "application/x-protobuf";

bool is_json(const Operation& operation) { return operation.body.starts_with('{'); }

/// A refusal for as often as the same bytes may come.
OperationPlan refused(int status, std::shared_ptr<Gate> gate = nullptr) {
  const std::string text = R"({"detail":"this server takes JSON"})";
  return {.refusals = std::vector<Reply>(20, Reply::json(text, status).held_by(std::move(gate)))};
}

/// Spec section 8: protobuf or JSON, found out on first use, and remembered.
class WireDiscoveryTest : public testing::ScriptedServiceTest {
 protected:
  void connect(std::optional<WireFormat> format = std::nullopt, bool parallel = false) {
    ClientOptions options = tinker.options();
    options.parallel_chunks = parallel;
    options.wire_format = format;
    options.chunk_limits.max_examples = 2;
    connect_service(std::move(options));
    client.emplace(make_client());
  }
  TrainingClient make_client() {
    auto created = service->create_lora_training_client("base").get();
    if (!created.ok()) throw std::runtime_error(created.error().what());
    return *std::move(created);
  }
  void take_json_only(int status, std::shared_ptr<Gate> gate = nullptr) {
    tinker.plan_each([status, gate](const Operation& operation) {
      return operation.batch && !is_json(operation) ? refused(status, gate) : OperationPlan();
    });
  }
  Future<ForwardBackwardOutput> pass(std::size_t size, std::int64_t first = 0) {
    return client->forward_backward(batch(size, first), loss::kCrossEntropy);
  }
  std::vector<std::string> types_sent() const {
    std::vector<std::string> types;
    for (const auto& request : requests("forward")) {
      types.emplace_back(request.header("content-type"));
    }
    return types;
  }
  std::vector<std::string> bodies(const std::string& kind) const {
    std::vector<std::string> sent;
    for (const auto& operation : tinker.operations(kind)) sent.push_back(operation.body);
    return sent;
  }

  std::optional<TrainingClient> client;
};

class JsonOnlyServerTest : public WireDiscoveryTest, public ::testing::WithParamInterface<int> {};

// Spec F3.
TEST_P(JsonOnlyServerTest, F3_TheRefusedChunkIsSentAgainAsJsonWithItsIdAndJsonIsRemembered) {
  take_json_only(GetParam());
  connect();
  EXPECT_TRUE(answers_batch(pass(2).get(), 2));
  EXPECT_TRUE(answers_batch(pass(2, 5).get(), 2, 5));
  EXPECT_TRUE(client->optim_step().get().ok());
  EXPECT_EQ(types_sent(), (std::vector<std::string>{kProtoType, kJsonType, kJsonType}));

  const auto operations = tinker.operations();
  ASSERT_EQ(operations.size(), 4u);  // the first one creates the model
  for (std::size_t i = 1; i < operations.size(); ++i) {
    EXPECT_EQ(operations[i].seq_id, static_cast<std::int64_t>(i));
    EXPECT_EQ(operations[i].submissions, 1);
  }
  EXPECT_EQ(requests("retrieve_future").back().header("accept"), kJsonType);
}

INSTANTIATE_TEST_SUITE_P(Refusals, JsonOnlyServerTest, ::testing::Values(415, 422));

/// What differs between datums: lengths, shapes, dtypes, several chunks, images, sparse targets.
std::vector<Datum> mixed_batch() {
  std::vector<Datum> data = batch(3);
  data[1].model_input.chunks.push_back(ImageChunk{std::string("\x89PNG\0\xff", 6), "png", 2});
  data[1].model_input.chunks.push_back(
      EncodedTextChunk{TensorData::from(std::vector<std::int32_t>{7})});
  data[1].loss_fn_inputs = {
      {"target_tokens", TensorData::from(std::vector<std::int64_t>(6, 1LL << 30))},
      {"weights", TensorData::from(std::vector<float>{0.1f, -2e-20f, 3e20f, 0, 1, 1.0f / 3})}};
  const std::vector<std::int64_t> many{0, 1, 2, 3, 4, 5};
  data[2].loss_fn_inputs = {
      {"target_tokens", TensorData::from(many, {3, 2})},
      {"weights", TensorData::sparse_csr(TensorData::from(std::vector<float>{0.25f, 4}),
                                         {0, 1, 1, 2}, {1, 0}, {3, 2})
                      .value()}};
  return data;
}

// Spec F3.
TEST_F(WireDiscoveryTest, F3_TranscodedBodiesAreThoseOfAJsonClient) {
  take_json_only(415);
  const std::string kServersOwn = "a_loss_of_the_server";  // whose settings are passed on unchecked
  const LossConfig config{{"clip_low_threshold", 0.1}, {"beta", 1e-12}};
  std::vector<std::vector<std::string>> sent;
  for (const auto& format : {std::optional<WireFormat>(), std::optional(WireFormat::kJson)}) {
    connect(format);
    const std::size_t before = tinker.operations("forward_backward").size();
    auto first = client->forward_backward(mixed_batch(), kServersOwn, config);
    EXPECT_TRUE(client->forward(mixed_batch(), kServersOwn).get().ok());
    EXPECT_TRUE(first.get().ok());
    auto both = bodies("forward_backward");
    both.erase(both.begin(), both.begin() + static_cast<std::ptrdiff_t>(before));
    const auto forward = bodies("forward");
    both.insert(both.end(), forward.end() - 2, forward.end());
    // The two clients train different models.
    for (std::string& body : both) body.replace(body.find("model-"), 7, "model-?");
    sent.push_back(std::move(both));
  }
  ASSERT_EQ(sent[0].size(), 4u);
  EXPECT_EQ(sent[0], sent[1]);
}

// Spec F3.
TEST_F(WireDiscoveryTest, F3_ForwardMovesToTheEndpointThatJsonHasForIt) {
  take_json_only(422);
  connect();
  EXPECT_TRUE(answers_batch(client->forward(batch(1), loss::kCrossEntropy).get(), 1));
  const auto sent = requests("forward");
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0].target, TinkerScript::path("forward_backward"));
  EXPECT_EQ(sent[1].target, TinkerScript::path("forward"));
}

// Spec T6.
TEST_F(WireDiscoveryTest, T6_ChunksQueuedWhileUndecidedFollowInOrderAsJson) {
  const auto gate = std::make_shared<Gate>();
  take_json_only(415, gate);
  connect();
  auto first = pass(6);
  auto second = pass(3, 10);
  auto step = client->optim_step();
  ASSERT_TRUE(wait_for_requests(1, "forward_backward"));
  gate->open();
  EXPECT_TRUE(answers_batch(first.get(), 6));
  EXPECT_TRUE(answers_batch(second.get(), 3, 10));
  EXPECT_TRUE(step.get().ok());
  EXPECT_EQ(types_sent(), (std::vector<std::string>{kProtoType, kJsonType, kJsonType, kJsonType,
                                                    kJsonType, kJsonType}));
  const auto operations = tinker.operations();
  ASSERT_EQ(operations.size(), 7u);
  std::vector<std::size_t> examples;
  for (std::size_t i = 1; i < operations.size(); ++i) {
    EXPECT_EQ(operations[i].seq_id, static_cast<std::int64_t>(i));
    examples.push_back(operations[i].examples());
  }
  EXPECT_EQ(examples, (std::vector<std::size_t>{2, 2, 2, 2, 1, 0}));
}

// Spec H1.
TEST_F(WireDiscoveryTest, H1_ChunksSideBySideSwitchEachForItself) {
  take_json_only(422);
  script("client/config", {Reply::json(R"({"parallel_fwdbwd_chunks":true})")});
  connect(std::nullopt, /*parallel=*/true);
  EXPECT_TRUE(answers_batch(pass(6).get(), 6));
  EXPECT_TRUE(client->optim_step().get().ok());
  std::set<std::int64_t> ids;
  for (const auto& operation : tinker.operations("forward_backward")) {
    EXPECT_TRUE(is_json(operation));
    ids.insert(operation.seq_id);
  }
  EXPECT_EQ(ids, (std::set<std::int64_t>{1, 2, 3}));
  EXPECT_EQ(tinker.operations("optim_step").front().seq_id, 4);
}

// Spec C3.
TEST_F(WireDiscoveryTest, C3_TheIdOfAChunkThatFailsAfterTheSwitchIsClosedInJson) {
  // The second chunk fails once the server has the third: an id behind all that the server has is
  // given back, not filled.
  const auto gate = std::make_shared<Gate>();
  tinker.plan_each([gate](const Operation& operation) {
    if (operation.batch && !is_json(operation)) return refused(415);
    if (operation.kind != "forward_backward" || operation.seq_id == 1) return OperationPlan();
    if (operation.seq_id == 3) gate->open();
    return operation.seq_id == 2
               ? OperationPlan{.refusals = {Reply::json(R"({"detail":"no"})", 413).held_by(gate)}}
               : OperationPlan();
  });
  script("client/config", {Reply::json(R"({"parallel_fwdbwd_chunks":true})")});
  connect(std::nullopt, /*parallel=*/true);
  EXPECT_EQ(pass(6).get().error().http_status(), 413);
  EXPECT_TRUE(client->optim_step().get().ok());
  const auto fillers = tinker.operations("forward");
  ASSERT_EQ(fillers.size(), 2u) << "of the chunk that failed, and of the first, which never left";
  for (const auto& filler : fillers) EXPECT_TRUE(is_json(filler));
  std::set<std::int64_t> ids;
  for (const auto& operation : tinker.operations()) {
    if (operation.seq_id > 0) ids.insert(operation.seq_id);
  }
  EXPECT_EQ(ids, (std::set<std::int64_t>{1, 2, 3, 4}));
}

TEST_F(WireDiscoveryTest, TwoModelsThatAreRefusedAtTheSameTimeBothSwitch) {
  const auto gate = std::make_shared<Gate>();
  take_json_only(415, gate);
  connect();
  TrainingClient other = make_client();
  auto one = pass(4);
  auto two = other.forward_backward(batch(4, 20), loss::kCrossEntropy);
  ASSERT_TRUE(wait_for_requests(2, "forward_backward"));
  gate->open();
  EXPECT_TRUE(answers_batch(one.get(), 4));
  EXPECT_TRUE(answers_batch(two.get(), 4, 20));
  EXPECT_EQ(types_sent().size(), 6u);
  EXPECT_EQ(tinker.operations("forward_backward").size(), 4u);
}

TEST_F(WireDiscoveryTest, ARefusalThatComesAfterAnotherModelsProtobufWasTakenIsAboutTheData) {
  const auto gate = std::make_shared<Gate>();
  connect();
  TrainingClient other = make_client();
  tinker.plan("forward_backward", refused(422, gate));
  auto refused_pass = pass(1);
  ASSERT_TRUE(wait_for_requests(1, "forward_backward"));
  EXPECT_TRUE(answers_batch(other.forward_backward(batch(1), loss::kCrossEntropy).get(), 1));
  gate->open();
  EXPECT_EQ(refused_pass.get().error().http_status(), 422);
  EXPECT_EQ(types_sent(), (std::vector<std::string>{kProtoType, kProtoType}));
}

TEST_F(WireDiscoveryTest, DataThatIsRefusedInBothFormatsGivesTheFirstRefusalAndDecidesNothing) {
  connect();
  tinker.plan("forward_backward", {.refusals = {Reply::json(R"({"detail":"first"})", 422)}});
  tinker.plan("forward_backward", {.refusals = {Reply::json(R"({"detail":"second"})", 422)}});
  const auto output = pass(1).get();
  ASSERT_FALSE(output.ok());
  EXPECT_THAT(output.error().message(), HasSubstr("first"));
  EXPECT_EQ(output.error().http_status(), 422);
  EXPECT_TRUE(output.error().not_accepted());
  EXPECT_TRUE(answers_batch(pass(1).get(), 1));
  EXPECT_EQ(types_sent(), (std::vector<std::string>{kProtoType, kJsonType, kProtoType}));
  EXPECT_EQ(tinker.operations("forward_backward").front().seq_id, 1) << "the id was given back";
}

TEST_F(WireDiscoveryTest, OnceProtobufWasTakenARefusalIsFinal) {
  connect();
  EXPECT_TRUE(answers_batch(pass(1).get(), 1));
  tinker.plan("forward_backward", refused(422));
  EXPECT_EQ(pass(1).get().error().http_status(), 422);
  EXPECT_EQ(types_sent(), (std::vector<std::string>{kProtoType, kProtoType}));
}

TEST_F(WireDiscoveryTest, AFormatThatTheOptionsNameIsKept) {
  take_json_only(415);
  connect(WireFormat::kProtobuf);
  EXPECT_EQ(pass(1).get().error().http_status(), 415);
  EXPECT_EQ(types_sent(), std::vector<std::string>{kProtoType});
}

// Spec C3.
TEST_F(WireDiscoveryTest, C3_JsonWhoseReplyIsLostIsRepeatedWithTheSameBytesAndId) {
  tinker.plan_each([](const Operation& operation) {
    if (operation.batch && !is_json(operation)) return refused(415);
    OperationPlan plan;
    if (operation.batch) plan.lost = {Reply::hang_up()};
    return plan;
  });
  connect();
  EXPECT_TRUE(answers_batch(pass(1).get(), 1));
  const auto sent = requests("forward_backward");
  ASSERT_EQ(sent.size(), 3u);
  EXPECT_EQ(sent[1].body, sent[2].body);
  EXPECT_EQ(tinker.operations("forward_backward").front().submissions, 2);
  EXPECT_EQ(tinker.operations("forward_backward").front().seq_id, 1);
}

}  // namespace
}  // namespace tinkex
