#pragma once

#include <functional>

namespace tinkex {

/// Runs short tasks: decoding, combining, continuations. A task must not wait for anything.
/// Thread-safe.
class Executor {
 public:
  using Task = std::function<void()>;

  virtual ~Executor() = default;

  /// Queues a task. False, with the task not run, once the executor has shut down.
  /// An exception that leaves the task is swallowed; `internal::settle_guarded` turns it into the
  /// error of a future.
  [[nodiscard]] virtual bool post(Task task) noexcept = 0;

  /// Whether the calling thread is running one of this executor's tasks, where waiting for
  /// another of its tasks could wait forever.
  virtual bool is_worker_thread() const noexcept = 0;
};

/// Runs `task` on `executor`, or here and now if that has shut down or is null.
void run_on(Executor* executor, Executor::Task task) noexcept;

}  // namespace tinkex
