#pragma once

#include <chrono>
#include <memory>

#include "tinkex/executor.h"

namespace tinkex::internal {

/// The default Executor: one oneTBB task arena.
///
/// TBB keeps one worker per core less one unless told otherwise, so that on two cores a second task
/// would wait for the first; a global_control asks for one worker per slot while the executor
/// lives.
///
/// Races. A task travels in a node whose `published` flag is stored with release order after the
/// node is filled and loaded with acquire order by the worker; libtbb orders the two as well, but
/// is not instrumented, so this pair is what ThreadSanitizer sees. `stopping` is set under the
/// mutex that counts posted tasks, so shutdown() sees every task that post() admitted.
class TbbExecutor final : public Executor {
 public:
  /// `threads` tasks run at a time; 0 means one per core, at least 2.
  explicit TbbExecutor(int threads = 0);
  /// Shuts down. May run on one of its own workers, which then does not wait for itself.
  ~TbbExecutor() override;

  [[nodiscard]] bool post(Task task) noexcept override;
  bool is_worker_thread() const noexcept override;

  /// Refuses new tasks and waits until all admitted ones have run, at most until `deadline`; false
  /// if some were still running then (they finish later, on shared state that stays alive).
  bool shutdown(std::chrono::steady_clock::time_point deadline) noexcept;

  int threads() const noexcept { return threads_; }

 private:
  struct State;
  struct Node;

  const int threads_;
  std::shared_ptr<State> state_;
};

}  // namespace tinkex::internal
