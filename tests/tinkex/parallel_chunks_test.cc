// Spec section 8, parallel chunk upload, through the whole client; H1, C3, T10.

#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/scripted_service.h"
#include "tinkex/training_client.h"

namespace tinkex {
namespace {

using mocks::Operation;
using mocks::Reply;
using mocks::TinkerScript;
using testing::answers_batch;
using testing::batch;

class ParallelChunksTest : public testing::ScriptedServiceTest {
 protected:
  void connect(bool announced, bool asked_for) {
    const std::string config =
        announced ? R"({"parallel_fwdbwd_chunks":true})" : R"({"parallel_fwdbwd_chunks":false})";
    tinker.server().handle("POST", TinkerScript::path("client/config"),
                           [config](const auto&) { return Reply::json(config); });
    ClientOptions options = tinker.options();
    options.parallel_chunks = asked_for;
    connect_service(std::move(options));
    auto created = service->create_lora_training_client("base").get();
    if (!created.ok()) throw std::runtime_error(created.error().what());
    client.emplace(*std::move(created));
  }
  /// In the order in which the server accepted them.
  std::vector<std::int64_t> seq_ids() const {
    std::vector<std::int64_t> ids;
    for (const Operation& operation : tinker.operations()) {
      if (operation.seq_id > 0) ids.push_back(operation.seq_id);
    }
    return ids;
  }

  std::optional<TrainingClient> client;
};

// Spec H1.
TEST_F(ParallelChunksTest, H1_TheFirstChunkArrivesLastAndTheResultIsInInputOrder) {
  connect(true, true);
  auto pass = client->forward_backward(batch(700), loss::kCrossEntropy);
  auto step = client->optim_step();
  EXPECT_TRUE(answers_batch(pass.get(), 700));
  EXPECT_TRUE(step.get().ok());
  const std::vector<std::int64_t> ids = seq_ids();
  ASSERT_EQ(ids.size(), 7u);
  EXPECT_EQ(ids[5], 1) << "after all the others";
  EXPECT_EQ(ids[6], 7) << "the step is behind the batch";
}

TEST_F(ParallelChunksTest, ItNeedsBothTheServersWordAndTheCallers) {
  for (const auto& [announced, asked_for] : {std::pair(true, false), std::pair(false, true)}) {
    connect(announced, asked_for);
    const std::size_t before = tinker.operations().size();
    EXPECT_TRUE(
        answers_batch(client->forward_backward(batch(300), loss::kCrossEntropy).get(), 300));
    const auto operations = tinker.operations();
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(operations.at(operations.size() - 3 + i).seq_id, static_cast<std::int64_t>(i + 1));
    }
    EXPECT_GE(operations.size(), before + 3);
  }
}

// Spec C3.
TEST_F(ParallelChunksTest, C3_AFailedChunkLeavesNoGapAndTellsWhatWasAccepted) {
  connect(true, true);
  tinker.plan("forward_backward", {.refusals = {Reply::json(R"({"detail":"no"})", 413)}});
  const auto output = client->forward_backward(batch(500), loss::kCrossEntropy).get();
  ASSERT_FALSE(output.ok());
  EXPECT_EQ(output.error().http_status(), 413);
  EXPECT_EQ(output.error().total_chunks(), 4u);
  EXPECT_TRUE(client->optim_step().get().ok());
  const std::vector<std::int64_t> ids = seq_ids();
  const std::set<std::int64_t> unique(ids.begin(), ids.end());
  EXPECT_EQ(unique.size(), ids.size());
  EXPECT_EQ(*unique.begin(), 1);
  EXPECT_EQ(*unique.rbegin(), static_cast<std::int64_t>(ids.size())) << "1, 2, 3, ... all there";
  std::size_t passes = 0;
  for (const Operation& operation : tinker.operations("forward_backward")) {
    passes += operation.examples() > 1 ? 1 : 0;
  }
  EXPECT_EQ(passes, output.error().accepted_request_ids().size());
}

}  // namespace
}  // namespace tinkex
