#include "tinkex/async/tbb_executor.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "tinkex/base/mutex.h"

namespace tinkex::internal {
namespace {

int resolve_threads(int threads) {
  if (threads > 0) return threads;
  return std::max(2, static_cast<int>(std::thread::hardware_concurrency()));
}

thread_local const void* running_on = nullptr;

struct Node {
  Executor::Task task;
  std::atomic<bool> published{false};
};

}  // namespace

struct TbbExecutor::State {
  explicit State(int threads)
      : workers(oneapi::tbb::global_control::max_allowed_parallelism,
                static_cast<std::size_t>(threads) + 1),
        arena(threads, /*reserved_for_masters=*/0) {
    arena.initialize();
  }

  void run(Node& node) noexcept {
    node.published.load(std::memory_order_acquire);
    const void* before = std::exchange(running_on, this);
    try {
      node.task();
    } catch (...) {
      // An exception leaving an enqueued task would end the process. spawn_guarded and run_on have
      // already turned user errors into results.
    }
    node.task = nullptr;  // what the task owns goes before the task counts as finished
    running_on = before;
    MutexLock lock(mutex);
    if (--pending == 0) idle.notify_all();
  }

  // Declared first, destroyed last: the arena's workers need the permission it gives.
  oneapi::tbb::global_control workers;
  oneapi::tbb::task_arena arena;

  Mutex mutex;
  CondVar idle;
  std::size_t pending TINKEX_GUARDED_BY(mutex) = 0;
  bool stopping TINKEX_GUARDED_BY(mutex) = false;
};

TbbExecutor::TbbExecutor(int threads)
    : threads_(resolve_threads(threads)), state_(std::make_shared<State>(threads_)) {}

TbbExecutor::~TbbExecutor() {
  if (is_worker_thread()) {
    MutexLock lock(state_->mutex);
    state_->stopping = true;  // the remaining tasks hold the state and finish by themselves
    return;
  }
  shutdown(std::chrono::steady_clock::now() + std::chrono::seconds(5));
}

bool TbbExecutor::post(Task task) noexcept {
  {
    MutexLock lock(state_->mutex);
    if (state_->stopping) return false;
    ++state_->pending;
  }
  try {
    auto node = std::make_shared<Node>();
    node->task = std::move(task);
    node->published.store(true, std::memory_order_release);
    state_->arena.enqueue([state = state_, node] { state->run(*node); });
    return true;
  } catch (...) {  // out of memory: the caller runs the task itself
    MutexLock lock(state_->mutex);
    if (--state_->pending == 0) state_->idle.notify_all();
    return false;
  }
}

bool TbbExecutor::is_worker_thread() const noexcept { return running_on == state_.get(); }

bool TbbExecutor::shutdown(std::chrono::steady_clock::time_point deadline) noexcept {
  MutexLock lock(state_->mutex);
  state_->stopping = true;
  while (state_->pending > 0) {
    if (!state_->idle.wait_until(state_->mutex, deadline)) return state_->pending == 0;
  }
  return true;
}

}  // namespace tinkex::internal
