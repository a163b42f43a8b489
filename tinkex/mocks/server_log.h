#pragma once

#include <vector>

#include "tinkex/base/mutex.h"
#include "tinkex/mocks/scripted_server.h"

namespace tinkex::mocks {

/// What a ScriptedServer remembers. Thread-safe.
class ServerLog {
 public:
  Moment now();
  /// Adds a request that has arrived; returns it with its index and its moment of arrival.
  LoggedRequest add(LoggedRequest request);
  void replied(std::size_t index);
  void client_left(std::size_t index);

  std::vector<LoggedRequest> select(std::string_view path_prefix) const;
  std::size_t count(std::string_view path_prefix) const;
  bool wait(std::size_t count, std::chrono::milliseconds timeout,
            std::string_view path_prefix) const;

 private:
  Moment now_locked() TINKEX_REQUIRES(mutex_);
  std::size_t count_locked(std::string_view path_prefix) const TINKEX_REQUIRES(mutex_);

  mutable internal::Mutex mutex_;
  mutable internal::CondVar arrival_;
  std::uint64_t last_order_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::vector<LoggedRequest> requests_ TINKEX_GUARDED_BY(mutex_);
};

/// Most of these requests that were between arrival and reply at one time.
std::size_t max_in_flight(const std::vector<LoggedRequest>& requests);

}  // namespace tinkex::mocks
