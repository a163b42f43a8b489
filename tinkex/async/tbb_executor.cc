#include "tinkex/async/tbb_executor.h"

#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "tinkex/base/mutex.h"

namespace tinkex::internal {
namespace {

int resolve_threads(int threads) {
  if (threads > 0) return threads;
  return std::max(2, static_cast<int>(std::thread::hardware_concurrency()));
}

thread_local const void* running_on = nullptr;

}  // namespace

class TbbExecutor::State {
 public:
  /// Every slot is kept for a thread that enters, so none of TBB's workers is asked for.
  explicit State(int threads) : arena_(threads, /*reserved_for_masters=*/threads) {}

  bool post(Task task) noexcept;
  bool shutdown(std::chrono::steady_clock::time_point deadline) noexcept;
  /// Lets the threads end once no task is left.
  void stop() noexcept;
  /// What each thread does.
  void serve() noexcept;

  bool is_worker_thread() const noexcept { return running_on == this; }

 private:
  /// False when there will be no more.
  bool wait_for_tasks() noexcept TINKEX_EXCLUDES(mutex_);
  void run_queued() noexcept TINKEX_EXCLUDES(mutex_);

  oneapi::tbb::task_arena arena_;
  Mutex mutex_;
  CondVar work_;
  CondVar idle_;
  std::deque<Task> tasks_ TINKEX_GUARDED_BY(mutex_);
  std::size_t unfinished_ TINKEX_GUARDED_BY(mutex_) = 0;  // in `tasks_` or running
  std::size_t waiting_ TINKEX_GUARDED_BY(mutex_) = 0;     // threads
  bool refusing_ TINKEX_GUARDED_BY(mutex_) = false;
  bool stopping_ TINKEX_GUARDED_BY(mutex_) = false;
};

bool TbbExecutor::State::post(Task task) noexcept {
  MutexLock lock(mutex_);
  // Tasks may still queue their successors. If those ran inside them instead, a chain of thousands
  // of steps, each ending the next, would be a recursion of that depth.
  if (refusing_ && !is_worker_thread()) return false;
  try {
    tasks_.push_back(std::move(task));
  } catch (...) {  // out of memory: the caller runs the task itself
    return false;
  }
  ++unfinished_;
  const bool wake = waiting_ > 0;
  lock.unlock();
  if (wake) work_.notify_one();
  return true;
}

bool TbbExecutor::State::shutdown(std::chrono::steady_clock::time_point deadline) noexcept {
  MutexLock lock(mutex_);
  refusing_ = true;
  while (unfinished_ > 0) {
    if (!idle_.wait_until(mutex_, deadline)) return unfinished_ == 0;
  }
  return true;
}

void TbbExecutor::State::stop() noexcept {
  {
    MutexLock lock(mutex_);
    refusing_ = stopping_ = true;
  }
  work_.notify_all();
}

void TbbExecutor::State::serve() noexcept {
  while (wait_for_tasks()) {
    try {
      arena_.execute([this] { run_queued(); });
    } catch (...) {
      run_queued();  // TBB has no memory for the arena's bookkeeping; the tasks need none of it
    }
  }
}

bool TbbExecutor::State::wait_for_tasks() noexcept {
  MutexLock lock(mutex_);
  while (tasks_.empty()) {
    if (stopping_) return false;
    ++waiting_;
    work_.wait(mutex_);
    --waiting_;
  }
  return true;
}

void TbbExecutor::State::run_queued() noexcept {
  const void* before = std::exchange(running_on, this);
  MutexLock lock(mutex_);
  while (!tasks_.empty()) {
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    try {
      task();
    } catch (...) {
      // Nothing may leave a task. settle_guarded and invoke_guarded have already turned it into a
      // result.
    }
    task = nullptr;  // what it owns goes before it counts as finished
    lock.lock();
    if (--unfinished_ == 0) idle_.notify_all();
  }
  running_on = before;
}

TbbExecutor::TbbExecutor(int threads) : state_(std::make_shared<State>(resolve_threads(threads))) {
  const auto count = static_cast<std::size_t>(resolve_threads(threads));
  threads_.reserve(count);
  while (threads_.size() < count) {
    try {
      threads_.emplace_back([state = state_] { state->serve(); });
    } catch (...) {
      if (threads_.empty()) throw;
      return;  // fewer threads than asked for do the same work
    }
  }
}

TbbExecutor::~TbbExecutor() {
  const bool inside = is_worker_thread();
  const bool done = !inside && shutdown(std::chrono::steady_clock::now() + std::chrono::seconds(5));
  state_->stop();
  for (std::thread& thread : threads_) {
    if (done) {
      thread.join();
    } else {
      thread.detach();  // it holds the state, and ends with the last task
    }
  }
}

bool TbbExecutor::post(Task task) noexcept { return state_->post(std::move(task)); }

bool TbbExecutor::is_worker_thread() const noexcept { return state_->is_worker_thread(); }

bool TbbExecutor::shutdown(std::chrono::steady_clock::time_point deadline) noexcept {
  return state_->shutdown(deadline);
}

}  // namespace tinkex::internal
