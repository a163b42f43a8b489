#include "tinkex/mocks/connection_doubles.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tinkex/training_client.h"

namespace tinkex::mocks {
namespace {

using ::testing::EndsWith;

/// Answers when the test says so.
class LateSampler : public SamplingDouble {
 public:
  LateSampler() : SamplingDouble("late") {}
  Future<SampleResponse> sample(const ModelInput&, std::int64_t, const SamplingParams&,
                                const SampleOptions&, const CallOptions&) override {
    return promise.future();
  }
  Promise<SampleResponse> promise;
};

TEST(ConnectionDoublesTest, WhatIsNotOverriddenFailsAndSaysWhatItWas) {
  TrainingClient model(std::make_shared<TrainingDouble>());
  EXPECT_EQ(model.model_id(), "double");
  const std::vector<Datum> data(1);
  const auto text = [](auto future) { return std::string(future.get().error().message()); };
  EXPECT_THAT(text(model.forward_backward(data, "l")), EndsWith("answer forward_backward"));
  EXPECT_THAT(text(model.forward(data, "l")), EndsWith("answer forward"));
  EXPECT_THAT(text(model.optim_step()), EndsWith("answer optim_step"));
  EXPECT_THAT(text(model.save_state("a")), EndsWith("answer save_state"));
  EXPECT_THAT(text(model.load_state("a")), EndsWith("answer load_state"));
  EXPECT_THAT(text(model.save_weights_for_sampler("a")),
              EndsWith("answer save_weights_for_sampler"));
  EXPECT_THAT(text(model.save_weights_and_get_sampling_client()),
              EndsWith("answer save_weights_and_get_sampling_client"));
  EXPECT_THAT(text(model.unload()), EndsWith("answer unload"));
  SamplingClient sampler(std::make_shared<SamplingDouble>());
  EXPECT_THAT(text(sampler.sample(ModelInput())), EndsWith("answer sample"));
  sampler.close();
}

/// As a connection that does not know the call at all.
class WithoutUnload : public TrainingDouble {
 public:
  Future<Unit> unload(const CallOptions& call) override { return TrainingConnection::unload(call); }
};

TEST(ConnectionDoublesTest, AConnectionWithoutUnloadIsNoDefectOfTheLibrary) {
  TrainingClient model(std::make_shared<WithoutUnload>());
  const auto refused = model.unload().get();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(refused.error().not_accepted());
}

TEST(ConnectionDoublesTest, AnOverriddenCallMayAnswerLater) {
  const auto late = std::make_shared<LateSampler>();
  SamplingClient sampler(late);
  EXPECT_EQ(sampler.session_id(), "late");
  auto sampled = sampler.sample(ModelInput());
  EXPECT_FALSE(sampled.ready());
  late->promise.set(SampleResponse());
  EXPECT_TRUE(sampled.get().ok());
}

}  // namespace
}  // namespace tinkex::mocks
