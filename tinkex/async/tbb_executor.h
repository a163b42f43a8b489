#pragma once

#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "tinkex/executor.h"

namespace tinkex::internal {

/// The default Executor: a oneTBB task arena, entered by threads of its own.
///
/// The threads wait for tasks outside the arena, on a condition variable, and carry them out inside
/// it, where an algorithm of TBB in a task finds the arena's bound. TBB's own workers are not used:
/// woken for a task, they look for the next with sched_yield for a millisecond before they sleep
/// (oneTBB 2021.8), which for steps of some microseconds was a third of the CPU of a burst of
/// samples; and there is one per core less one, unless the whole process is told otherwise.
///
/// Races. All that post(), shutdown() and the threads share is guarded by one mutex; `stopping` is
/// set under it, so shutdown() sees every task that post() admitted. The threads hold that state
/// themselves, so that it outlives an executor that ends before its tasks.
class TbbExecutor final : public Executor {
 public:
  /// `threads` tasks run at a time; 0 means one per core, at least 2. Throws std::system_error if
  /// no thread can be started.
  explicit TbbExecutor(int threads = 0);
  /// Shuts down and waits 5 s at most; tasks that then still run finish by themselves. May run in
  /// one of its own tasks, for which it does not wait.
  ~TbbExecutor() override;

  [[nodiscard]] bool post(Task task) noexcept override;
  bool is_worker_thread() const noexcept override;

  /// Refuses new tasks and waits until all admitted ones have run, at most until `deadline`; false
  /// if some were still running then (they finish later, on shared state that stays alive).
  bool shutdown(std::chrono::steady_clock::time_point deadline) noexcept;

 private:
  class State;

  const std::shared_ptr<State> state_;
  std::vector<std::thread> threads_;
};

}  // namespace tinkex::internal
