#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/manual_runtime.h"
#include "tests/tinkex/schedules/dice.h"
#include "tinkex/async/runtime.h"
#include "tinkex/mocks/scripted_server.h"

namespace tinkex::testing {

/// A Runtime on one thread and a virtual clock, in which everything that is possible next is chosen
/// by dice: which task of the executor runs, which message arrives, when. The same seed gives the
/// same run, and a run that can go no further is known to be at rest.
class VirtualWorld {
 public:
  /// Answers a request that reaches the server; null for one that finds no server.
  using Server = std::function<std::unique_ptr<mocks::Reply>(const mocks::LoggedRequest&)>;

  VirtualWorld(std::uint64_t seed, Server server);
  ~VirtualWorld();

  const std::shared_ptr<internal::Runtime>& runtime() const { return runtime_; }
  /// Does `what` that much later.
  void after(Clock::duration delay, std::function<void()> what);
  Clock::duration random_pause(int longest_ms);
  /// Lets everything happen until nothing can any more. False if there is no end to it.
  bool run_until_rest();
  /// What closing a service does: ends every exchange and wakes every timer.
  void close();
  /// Time stands still while a task is there to be run.
  bool punctual() const { return punctual_; }
  bool closed() const { return runtime_->closed.load(); }

  /// What has reached the server. `began` and `arrived` are one moment.
  const std::vector<mocks::LoggedRequest>& log() const { return log_; }
  /// Adds a line to the story of this run.
  void tell(const std::string& text);
  std::string story() const;

 private:
  class RandomExecutor;
  class Timers;
  class Wire;

  using EventId = std::uint64_t;
  EventId schedule(Clock::time_point when, std::function<void()> what);
  void cancel(EventId id);
  bool step();
  mocks::Moment moment();

  Dice dice_;
  const bool punctual_ = dice_.once_in(2);
  const Server server_;
  const std::shared_ptr<ManualClock> clock_ = std::make_shared<ManualClock>();
  const Clock::time_point began_ = clock_->now();
  std::shared_ptr<RandomExecutor> executor_;
  std::shared_ptr<Timers> timers_;
  std::shared_ptr<Wire> wire_;
  std::shared_ptr<internal::Runtime> runtime_;

  /// By time, and by a throw of the dice where the times are equal.
  std::map<std::pair<Clock::time_point, EventId>, std::function<void()>> events_;
  std::map<EventId, Clock::time_point> when_;
  std::uint64_t last_order_ = 0;
  std::vector<mocks::LoggedRequest> log_;
  std::vector<std::string> story_;
};

}  // namespace tinkex::testing
