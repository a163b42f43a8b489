#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/tinkex/schedules/player.h"
#include "tests/tinkex/schedules/program.h"
#include "tests/tinkex/schedules/verdict.h"
#include "tinkex/mocks/tinker_script.h"
#include "tinkex/service_client.h"

namespace tinkex::testing {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kSeeds = 50;
constexpr std::uint64_t kSeedsPerCase = 5;
/// Real time until a future counts as one that never settles.
constexpr milliseconds kPatience{60'000};

const ProgramLimits kLimits{.faults = {.max_attempts = 6, .longest_pause = 8, .max_poll_faults = 2},
                            .threads = 4,
                            .longest_deadline = 400,
                            .calls_per_thread = 5};

/// One program, on threads and sockets.
class LoopbackRun {
 public:
  explicit LoopbackRun(std::uint64_t seed)
      : program_(make_program(seed, kLimits)),
        offer_(offer_parallel_chunks()),
        service_(ServiceClient::connect(options()).value()),
        player_(program_, make_clients()) {
    tinker_.plan_each(
        [this](const mocks::Operation& operation) { return program_.server_plan(operation); });
  }

  /// What went wrong; nothing: all is well.
  std::vector<std::string> run() {
    std::vector<std::thread> threads;
    threads.reserve(program_.threads.size());
    for (const auto& script : program_.threads) {
      threads.emplace_back([this, &script] {
        for (const Action& action : script) act(action);
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const int call : program_.afterwards) player_.call(call);
    for (const int call : program_.afterwards) (void)player_.wait(call, kPatience);
    const std::vector<Outcome> outcomes = player_.outcomes();
    service_.close();  // nothing is under way when the log is read
    std::vector<mocks::Operation> operations = tinker_.operations();
    std::erase_if(operations, [](const auto& one) { return one.kind == "create_model"; });
    return judge({.program = program_,
                  .operations = std::move(operations),
                  .log = tinker_.server().log(),
                  .outcomes = outcomes,
                  .closed = closed_.load()});
  }

  /// What each request was to meet, and what arrived.
  std::string story() const {
    std::string all;
    for (const Call& call : program_.calls) {
      all += call.text() + ", thread " + std::to_string(call.thread) + "\n";
      for (const RequestPlan& plan : call.requests) {
        if (!plan.text.empty()) all += "    " + plan.text + "\n";
      }
    }
    for (const mocks::LoggedRequest& request : tinker_.server().log()) {
      all += std::to_string(request.arrived.order) + " to " +
             std::to_string(request.replied.order) + ": " + request.target + "\n";
    }
    return all;
  }

 private:
  ClientOptions options() const {
    ClientOptions options = tinker_.options();
    options.wire_format = program_.format;
    options.chunk_limits.max_examples = kChunkExamples;
    options.max_queued_bytes = program_.max_queued_bytes;
    options.max_concurrent_polls = program_.max_polls;
    options.parallel_chunks = program_.parallel;
    options.retry.initial_backoff = milliseconds(2);
    options.retry.max_attempts = program_.attempts;
    options.sample_retry = options.retry;
    options.sample_retry.max_attempts = program_.sample_attempts;
    return options;
  }

  /// Before any plan is made: set-up meets no faults.
  Player::Clients make_clients() {
    Player::Clients clients;
    for (int i = 0; i < kClients; ++i) {
      clients.models.push_back(service_.create_lora_training_client("base").get().value());
      clients.samplers.push_back(
          service_.create_sampling_client("base", std::nullopt).get().value());
    }
    return clients;
  }

  void act(const Action& action) {
    switch (action.kind) {
      case Action::Kind::kCall: return player_.call(action.call);
      case Action::Kind::kCancel: return player_.cancel(action.call);
      case Action::Kind::kDrop: return player_.drop(action.call);
      case Action::Kind::kWait: (void)player_.wait(action.call, kPatience); return;
      case Action::Kind::kClose:
        closed_ = true;
        service_.close();
        return;
    }
  }

  /// Before the service asks.
  bool offer_parallel_chunks() {
    tinker_.server().script("POST", mocks::TinkerScript::path("client/config"),
                            {mocks::Reply::json(R"({"parallel_fwdbwd_chunks":true})")});
    return true;
  }

  const Program program_;
  mocks::TinkerScript tinker_;
  const bool offer_;
  ServiceClient service_;
  Player player_;
  std::atomic<bool> closed_{false};
};

class LoopbackSchedulesTest : public ::testing::TestWithParam<std::uint64_t> {};

// Spec H1, H6, T1, T6, T7, T10, T11, T12, T16, S8, S11, C3: the schedules of the virtual clock, on
// real threads and sockets.
TEST_P(LoopbackSchedulesTest, H6_C3_EveryFutureSettlesOrderHoldsAndNothingIsDoneTwice) {
  for (const std::uint64_t seed : seeds(GetParam(), kSeedsPerCase)) {
    LoopbackRun run(seed);
    const auto wrong = run.run();
    if (wrong.empty()) continue;
    FAIL() << report(seed, wrong, run.story());
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, LoopbackSchedulesTest,
                         ::testing::Range<std::uint64_t>(0, kSeeds, kSeedsPerCase),
                         [](const auto& info) { return "From" + std::to_string(info.param); });

}  // namespace
}  // namespace tinkex::testing
