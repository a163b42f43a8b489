// Children of fork, which have none of the library's threads.

#include "torch_ext/ops/reaper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <future>
#include <memory>
#include <string>
#include <utility>

#include "tests/torch_ext/fake_connections.h"
#include "torch_ext/ops/client_classes.h"

namespace tinkex::torch_ext {
namespace {

TEST(ReaperTest, ForkedChildGivesUpWhatItsParentMadeAndDropsWhatItMade) {
  const tinkex::internal::ProcessMark parent;
  drop_later(std::make_shared<int>(0));  // starts the thread, in the parent
  wait_until_dropped();
  GTEST_FLAG_SET(death_test_style, "fast");
  EXPECT_EXIT(
      {
        drop_later(std::shared_ptr<int>(new int(0), [](int*) { _exit(1); }), parent);
        wait_until_dropped();
        drop_later(std::shared_ptr<int>(new int(0), [](int*) { _exit(0); }));  // made here
        wait_until_dropped();
        _exit(2);
      },
      testing::ExitedWithCode(0), "");
}

TEST(ReaperTest, WhatADroppedObjectGivesAwayIsDroppedWithIt) {
  std::string order;
  std::promise<void> go_on;
  drop_later(std::shared_ptr<void>(nullptr, [&go_on](void*) { go_on.get_future().wait(); }));
  const auto noted = [&order](char name) {
    return std::shared_ptr<int>(new int(0), [&order, name](const int* object) {
      delete object;
      order += name;
    });
  };
  drop_later(std::make_pair(dropped_later(noted('a')), dropped_later(noted('b'))));
  drop_later(noted('c'));
  go_on.set_value();
  wait_until_dropped();
  EXPECT_THAT(order, testing::EndsWith("c"));
  EXPECT_EQ(order.size(), 3u);
}

/// Makes a client with `make(lease)` in a process that has dropped nothing yet, and drops it in a
/// child of fork. Ends with 0 if the child gave the client up, 1 if it destroyed it.
template <class Make>
[[noreturn]] void drop_in_a_child(Make make) {
  static bool destroyed = false;
  auto client = make(std::shared_ptr<int>(new int(0), [](int* lease) {
    delete lease;
    destroyed = true;
  }));
  const ::pid_t child = ::fork();
  if (child == 0) {
    client.reset();
    wait_until_dropped();
    ::_exit(destroyed ? 1 : 0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 2);
}

TEST(ReaperTest, ClientDroppedInAChildIsGivenUpThoughTheParentNeverDroppedOne) {
  // Runs the statement in a process of its own: in this one the thread may have been started.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(drop_in_a_child([](std::shared_ptr<const void> lease) {
                return c10::make_intrusive<ScriptTrainingClient>(
                    TrainingClient(std::make_shared<FakeTraining>()), std::move(lease));
              }),
              testing::ExitedWithCode(0), "");
  EXPECT_EXIT(drop_in_a_child([](std::shared_ptr<const void> lease) {
                return c10::make_intrusive<ScriptSamplingClient>(
                    SamplingClient(std::make_shared<FakeSampling>()), std::move(lease));
              }),
              testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace tinkex::torch_ext
