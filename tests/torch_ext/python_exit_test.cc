// What happens to waits, and to children of fork, when Python exits.

#include "torch_ext/ops/python_exit.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>

#include "tinkex/mocks/tinker_script.h"
#include "torch_ext/connect.h"

namespace tinkex::torch_ext {
namespace {

using Clock = std::chrono::steady_clock;

/// Ends with 0 if the exit lets a thread that came and went while the services were closed take
/// Python's lock: twice 20 ms, before and after nobody may come any more.
[[noreturn]] void leave_while_somebody_comes_and_goes() {
  mocks::TinkerScript tinker;
  std::optional<Clock::time_point> gone;  // written before the reply that close() waits for
  tinker.server().handle("POST", mocks::TinkerScript::path("sessions/session-1/finish"),
                         [&gone](const auto&) {
                           { const WaitPass late; }
                           gone = Clock::now();
                           return mocks::Reply::json("{}");
                         });
  const auto connection = std::make_shared<Connection>(
      Connection{.service = ServiceClient::connect(tinker.options()).value(),
                 .description = "",
                 .data_dir = "",
                 .base_models = {},
                 .backend = {}});
  close_at_exit(connection);
  leave_python();
  if (!gone) ::_exit(1);
  ::_exit(Clock::now() - *gone >= std::chrono::milliseconds(40) ? 0 : 2);
}

TEST(PythonExitTest, WhoBeginsAWaitDuringTheExitIsGivenTheTimeToComeBack) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // in a process of its own
  EXPECT_EXIT(leave_while_somebody_comes_and_goes(), testing::ExitedWithCode(0), "");
}

/// Ends with 0 if the service of a connection that is still held is closed by then.
[[noreturn]] void exit_with_an_open_service() {
  static std::atomic<bool> finished{false};
  std::atexit([] { ::_exit(finished ? 0 : 1); });  // the first to be registered runs last
  auto& tinker = *new mocks::TinkerScript;
  tinker.server().handle("POST", mocks::TinkerScript::path("sessions/session-1/finish"),
                         [](const auto&) {
                           finished = true;
                           return mocks::Reply::json("{}");
                         });
  const auto& connection = *new std::shared_ptr<Connection>(
      new Connection{.service = ServiceClient::connect(tinker.options()).value(),
                     .description = "",
                     .data_dir = "",
                     .base_models = {},
                     .backend = {}});
  close_at_exit(connection);
  std::exit(2);
}

TEST(PythonExitTest, ProgramWithoutPythonClosesWhatIsOpenWhenItExits) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // in a process of its own
  EXPECT_EXIT(exit_with_an_open_service(), testing::ExitedWithCode(0), "");
}

/// Ends with 0 if Python, which starts behind the first of three calls, was asked once.
[[noreturn]] void start_python_after_a_call() {
  leave_python_at_its_exit();
  void* const python = ::dlopen("tests/torch_ext/libfake_python.so", RTLD_NOW | RTLD_GLOBAL);
  const auto runs = python == nullptr
                        ? nullptr
                        : reinterpret_cast<int (*)()>(::dlsym(python, "fake_python_runs"));
  if (runs == nullptr) ::_exit(2);
  leave_python_at_its_exit();
  leave_python_at_its_exit();
  ::_exit(runs() == 1 ? 0 : 1);
}

TEST(PythonExitTest, PythonThatStartsAfterTheFirstServiceIsAskedToo) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // in a process of its own
  EXPECT_EXIT(start_python_after_a_call(), testing::ExitedWithCode(0), "");
}

/// How a child of fork ends that leaves Python; one that hangs is ended by its alarm.
int status_of_leaving_child() {
  const ::pid_t child = ::fork();
  if (child == 0) {
    ::alarm(10);
    leave_python();
    ::_exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

TEST(PythonExitTest, AChildOfForkLeavesWhateverItsParentsThreadsWereDoing) {
  std::atomic<bool> stop{false};
  std::thread busy([&stop] {
    while (!stop) {
      const WaitPass pass;
    }
  });
  const WaitPass counted;  // as a thread that the child does not have
  int status = 0;
  for (int i = 0; i < 50 && status == 0; ++i) status = status_of_leaving_child();
  stop = true;
  busy.join();
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace tinkex::torch_ext
