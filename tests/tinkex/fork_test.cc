// Clients in a child of fork, which has none of the threads that serve them.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <utility>

#include "tests/support/scripted_service.h"

namespace tinkex {
namespace {

using testing::batch;

/// How the body ended in a child of fork: 0 for true, 1 for false, or the signal that ended it. A
/// child that waits for ever is ended by its alarm.
template <class Body>
int status_in_child(Body body) {
  const ::pid_t child = ::fork();
  if (child == 0) {
    ::alarm(10);
    ::_exit(body() ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
}

template <class T>
bool refused(Future<T> future) {
  const Result<T> result = std::move(future).get();
  return !result.ok() && result.error().code() == ErrorCode::kClosed &&
         result.error().not_accepted() &&
         result.error().message().find("before fork()") != std::string::npos;
}

class ForkTest : public testing::ScriptedServiceTest {
 protected:
  ForkTest() {
    connect_service(tinker.options());
    training = std::move(service->create_lora_training_client("base").get()).value();
    sampler = std::move(service->create_sampling_client("base", std::nullopt).get()).value();
  }

  std::optional<TrainingClient> training;
  std::optional<SamplingClient> sampler;
};

TEST_F(ForkTest, EveryCallInTheChildIsRefusedAtOnce) {
  const ModelInput prompt = ModelInput::from_tokens(std::vector<std::int64_t>{1, 2});
  const auto loss = [](const auto&...) -> CustomLossOutput { return {}; };
  EXPECT_EQ(status_in_child([&] {
              return refused(training->forward(batch(1), "cross_entropy")) &&
                     refused(training->forward_backward(batch(1), "cross_entropy")) &&
                     refused(training->forward_backward_custom(batch(1), loss)) &&
                     refused(training->optim_step()) && refused(training->save_state("a")) &&
                     refused(training->load_state("tinker://run/weights/a")) &&
                     refused(training->save_weights_for_sampler("a")) &&
                     refused(training->save_weights_and_get_sampling_client()) &&
                     refused(training->unload()) && refused(sampler->sample(prompt)) &&
                     refused(sampler->compute_logprobs(prompt));
            }),
            0);
  EXPECT_EQ(
      status_in_child([&] {
        return refused(service->get_supported_models()) &&
               refused(service->create_lora_training_client("base")) &&
               refused(service->create_training_client_from_state("tinker://run/weights/a")) &&
               refused(service->create_sampling_client("base", std::nullopt)) &&
               refused(service->delete_checkpoint("tinker://run/weights/a"));
      }),
      0);
}

TEST_F(ForkTest, ChildMayCloseAndDropWhatItInherited) {
  EXPECT_EQ(status_in_child([&] {
              service->close();
              sampler.reset();
              training.reset();
              service.reset();
              return true;
            }),
            0);
}

TEST_F(ForkTest, ParentGoesOnAfterItsChild) {
  ASSERT_EQ(status_in_child([&] { return refused(training->optim_step()); }), 0);
  EXPECT_TRUE(training->optim_step().get().ok());
  EXPECT_EQ(tinker.operations("optim_step").size(), 1u);
}

}  // namespace
}  // namespace tinkex
