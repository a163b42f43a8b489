#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <utility>

#include "tinkex/async/runtime.h"

namespace tinkex::internal {

/// Tells the server at an interval that the session is alive. Failures are ignored, for the next
/// beat may succeed; a 410 (session finished) ends it.
///
/// Threads. It lives on the timers' and the transport's threads alone, which never run code of the
/// user: an executor full of continuations that wait for a lock, or a long upload, does not delay
/// it. Each of its steps only hands a request or a timer over.
///
/// Races. cancel() sets `cancelled_` first, and every step reads it: a timer or an exchange whose
/// id was not stored yet comes to its end and finds the mark.
class Heartbeat final : public std::enable_shared_from_this<Heartbeat> {
 public:
  Heartbeat(std::shared_ptr<Runtime> runtime, HttpRequest request,
            std::chrono::milliseconds interval)
      : runtime_(std::move(runtime)), request_(std::move(request)), interval_(interval) {}

  /// The first beat comes one interval from now. Call it once; cancel() ends it.
  void start();
  /// Thread-safe.
  void cancel() noexcept;

 private:
  void wait(Clock::time_point from);
  void beat();
  bool stopped() const { return cancelled_.load() || runtime_->closed.load(); }

  const std::shared_ptr<Runtime> runtime_;
  const HttpRequest request_;
  const std::chrono::milliseconds interval_;
  std::atomic<bool> cancelled_{false};
  std::atomic<TimerService::TimerId> timer_{0};
  std::atomic<Transport::RequestId> exchange_{0};
};

}  // namespace tinkex::internal
