#include "examples/support/interrupt.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

namespace sft {
namespace {

TEST(InterruptTest, SignalsThatComeAtOnceAreOneStop) {
  const auto stop_twice = [] {
    watch_for_stop();
    std::raise(SIGINT);
    std::raise(SIGINT);
    std::exit(stop_signal());
  };
  EXPECT_EXIT(stop_twice(), ::testing::ExitedWithCode(SIGINT), "^\nStopping: [^\n]*\n$");
}

TEST(InterruptTest, ALaterCtrlCEndsTheProgramAtOnceAndALaterSigtermDoesNot) {
  const auto stop_later = [] {
    watch_for_stop();
    std::raise(SIGTERM);
    for (int pause = 0; pause < 10; ++pause) {
      std::this_thread::sleep_for(std::chrono::milliseconds(40));
    }
    std::raise(SIGTERM);
    if (stop_signal() == SIGTERM) std::raise(SIGINT);
    std::exit(0);
  };
  EXPECT_EXIT(stop_later(), ::testing::KilledBySignal(SIGINT), "^\nStopping: [^\n]*\n$");
}

}  // namespace
}  // namespace sft
