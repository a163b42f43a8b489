#pragma once

#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>

#include "tinkex/base/mutex.h"

namespace tinkex::torch_ext::local {

/// The one thread that runs a model's arithmetic. Tasks wait in named lanes: a lane keeps its
/// order, and the lanes that have work take turns, one task each, so that a long training queue
/// does not stop sampling. Thread-safe.
class ComputeThread {
 public:
  using Task = std::function<void()>;

  /// `on_start` runs first on the new thread.
  explicit ComputeThread(Task on_start);
  /// Stops.
  ~ComputeThread();

  /// Puts a task at the end of a lane. What it throws is dropped: it reports its failures itself.
  /// False, with the task dropped, after stop().
  bool post(std::string_view lane, Task task);

  /// Waits for the running task, however long that takes: whoever posts long ones must have told
  /// them to end. Tasks that wait are dropped. Must not be called from a task.
  void stop() noexcept;

 private:
  void loop();
  /// Blocks until there is a task; false when stopped.
  bool next(Task& task) TINKEX_EXCLUDES(mutex_);

  internal::Mutex mutex_;
  internal::CondVar changed_;
  /// Lanes with waiting tasks, the next one to serve first.
  std::deque<std::string> turns_ TINKEX_GUARDED_BY(mutex_);
  std::unordered_map<std::string, std::deque<Task>> lanes_ TINKEX_GUARDED_BY(mutex_);
  bool stopped_ TINKEX_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tinkex::torch_ext::local
