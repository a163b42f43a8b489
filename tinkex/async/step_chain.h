#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "tinkex/async/runtime.h"

namespace tinkex::internal {

/// What a request that its caller gave up ends with.
Error cancelled_error();

/// A chain of short steps of which one is under way at a time: an HTTP exchange, or a pause.
/// Between steps it holds no thread. The base of everything that talks to a server and has to wait.
///
/// Threads. Each `next` runs on the executor; the first step runs on the thread that starts it. The
/// transport's and the timers' threads only hand over.
///
/// Races. Steps follow each other through the executor, so a chain's own fields need no lock. Only
/// cancel() and withdraw() come from outside. They set their flag and then read which exchange or
/// pause is under way; a step stores what it started and then reads the flags (both sequentially
/// consistent), so at least one of the two sees the other. The id of an exchange is known only when
/// send() returns, and by then the reply may have led to the next exchange on another thread; so
/// the id replaces only the mark of its own exchange. A pause may be ended by its timer and by
/// cancel() at the same time: `pause_` is odd while one is under way, and only the one that makes
/// it even goes on. No step takes a lock, which keeps the path from sample() to the I/O thread free
/// of them.
class StepChain : public std::enable_shared_from_this<StepChain> {
 public:
  virtual ~StepChain() = default;

  /// Ends the chain early: its `finish` runs with kCancelled, on the executor. Thread-safe.
  void cancel() noexcept;

  /// Ends the chain early where may_withdraw() lets it, but breaks off no exchange whose body has
  /// left in full (Transport::withdraw). Thread-safe.
  void withdraw() noexcept;

 protected:
  using Next = std::function<void(Result<HttpResponse>)>;

  explicit StepChain(std::shared_ptr<Runtime> runtime) : runtime_(std::move(runtime)) {}

  /// Sends `request`; `next` gets the reply.
  void exchange(HttpRequest request, Next next);
  /// Calls `next` at `when`, or early when the chain is cancelled or the service closed.
  void pause_until(Clock::time_point when, std::function<void()> next);

  /// Whether an exchange or a pause may still be given up by withdraw(). Called on any thread.
  virtual bool may_withdraw() const noexcept { return false; }
  bool withdrawn() const noexcept { return withdrawn_.load() && may_withdraw(); }

  /// kCancelled or kClosed once the chain must not go on.
  std::optional<Error> stopped() const;

  Runtime& runtime() const noexcept { return *runtime_; }
  const std::shared_ptr<Runtime>& shared_runtime() const noexcept { return runtime_; }

 private:
  std::optional<Transport::RequestId> exchange_under_way() const noexcept;
  void end_pause() noexcept;
  void wake(std::uint64_t pause) noexcept;

  const std::shared_ptr<Runtime> runtime_;
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> withdrawn_{false};
  std::atomic<std::uint64_t> exchange_{0};  // 0, the mark of one that starts, or its id
  std::uint64_t exchanges_ = 0;
  std::atomic<std::uint64_t> pause_{0};
  std::atomic<TimerService::TimerId> timer_{0};
  std::function<void()> after_pause_;  // written before the pause begins, read after it ended
};

}  // namespace tinkex::internal
