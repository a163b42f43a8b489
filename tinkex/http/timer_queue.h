#pragma once

#include <map>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tinkex/async/timer_service.h"

namespace tinkex::internal {

/// Deadlines and what to call at them. Passive: its owner's thread asks it. Not thread-safe.
class TimerQueue {
 public:
  using Id = TimerService::TimerId;
  using Callback = TimerService::Callback;

  void add(Id id, Clock::time_point when, Callback callback) {
    when_.emplace(id, when);
    timers_.emplace(std::pair(when, id), std::move(callback));
  }

  void cancel(Id id) {
    const auto found = when_.find(id);
    if (found == when_.end()) return;
    timers_.erase({found->second, id});
    when_.erase(found);
  }

  std::optional<Clock::time_point> next_deadline() const {
    if (timers_.empty()) return std::nullopt;
    return timers_.begin()->first.first;
  }

  /// Removes and gives the callbacks that are due at `now`, earliest first.
  std::vector<Callback> take_due(Clock::time_point now) {
    std::vector<Callback> due;
    while (!timers_.empty() && timers_.begin()->first.first <= now) {
      auto node = timers_.extract(timers_.begin());
      when_.erase(node.key().second);
      due.push_back(std::move(node.mapped()));
    }
    return due;
  }

 private:
  // The id in the key keeps equal deadlines in the order in which they were added.
  std::map<std::pair<Clock::time_point, Id>, Callback> timers_;
  std::unordered_map<Id, Clock::time_point> when_;
};

}  // namespace tinkex::internal
