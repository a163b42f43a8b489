#include <gtest/gtest.h>

#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/scripted_service.h"

namespace tinkex {
namespace {

std::size_t threads_of_this_process() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

class PollThreadsTest : public testing::ScriptedServiceTest {};

// Spec T9: 512 futures wait for their results, and no thread for one of them.
TEST_F(PollThreadsTest, T9_WaitingForManyResultsTakesNoThreads) {
  constexpr int kWorkers = 2;
  constexpr std::size_t kWaiting = 512;
  ClientOptions options = tinker.options();
  options.executor_threads = kWorkers;
  connect_service(std::move(options));
  auto sampler = service->create_sampling_client("base", std::nullopt).get().value();
  const auto gate = std::make_shared<mocks::Gate>();
  tinker.plan_each(
      [gate](const mocks::Operation&) { return mocks::OperationPlan{.result_gate = gate}; });

  const std::size_t before = threads_of_this_process();
  std::vector<Future<SampleResponse>> samples;
  for (std::int64_t i = 0; i < std::int64_t{kWaiting}; ++i) {
    samples.push_back(sampler.sample(ModelInput::from_tokens({i, 1})));
  }
  ASSERT_TRUE(wait_for_requests(kWaiting, "asample"));
  EXPECT_LE(threads_of_this_process(), before + kWorkers) << "the executor starts its own late";

  gate->open();
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const auto& sampled = samples[i].get();
    ASSERT_TRUE(sampled.ok()) << sampled.error().what();
    EXPECT_EQ(sampled->sequences.front().tokens.front(), static_cast<int>(i));
  }
}

}  // namespace
}  // namespace tinkex
