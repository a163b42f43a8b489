#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "tinkex/base/mutex.h"
#include "tinkex/executor.h"

namespace tinkex::internal {

/// Bounds how much polling is under way, first come first served: how many polls are on the wire,
/// or how many bytes of large results are being fetched. A poll that was answered "not yet" queues
/// again at the end, so with n waiting futures and a bound of m none waits longer than n / m polls.
/// What is heavier than the limit is admitted alone.
///
/// Races. Counters and queue are under one mutex. A turn that had to wait runs as a task of its
/// own: when the service closes, thousands of them follow each other and must not nest.
class PollGate {
 public:
  using Turn = std::function<void()>;

  /// `on_full` is called when something has to wait for the first time.
  PollGate(std::size_t limit, std::shared_ptr<Executor> executor,
           std::function<void()> on_full = nullptr)
      : limit_(limit), executor_(std::move(executor)), on_full_(std::move(on_full)) {}

  /// Calls `turn` now or when its turn comes. Every turn must be followed by one leave() of the
  /// same weight.
  void enter(Turn turn, std::size_t weight = 1) TINKEX_EXCLUDES(mutex_);
  void leave(std::size_t weight = 1) TINKEX_EXCLUDES(mutex_);

 private:
  bool admits(std::size_t weight) const TINKEX_REQUIRES(mutex_);

  const std::size_t limit_;
  const std::shared_ptr<Executor> executor_;
  Mutex mutex_;
  std::function<void()> on_full_ TINKEX_GUARDED_BY(mutex_);  // until it was called
  std::size_t inside_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::deque<std::pair<Turn, std::size_t>> waiting_ TINKEX_GUARDED_BY(mutex_);
};

}  // namespace tinkex::internal
