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

/// Counts the tasks. Apart from the arena, so that a task can let go of the arena before it counts
/// as finished.
struct Gate {
  void finish_one() {
    MutexLock lock(mutex);
    if (--pending == 0) idle.notify_all();
  }

  Mutex mutex;
  CondVar idle;
  std::size_t pending TINKEX_GUARDED_BY(mutex) = 0;
  bool stopping TINKEX_GUARDED_BY(mutex) = false;
};

}  // namespace

struct TbbExecutor::State {
  explicit State(int threads)
      : workers(oneapi::tbb::global_control::max_allowed_parallelism,
                static_cast<std::size_t>(threads) + 1),
        arena(threads, /*reserved_for_masters=*/0) {
    arena.initialize();
  }

  // Declared first, destroyed last: the arena's workers need the permission it gives.
  oneapi::tbb::global_control workers;
  oneapi::tbb::task_arena arena;
  const std::shared_ptr<Gate> gate = std::make_shared<Gate>();
};

struct TbbExecutor::Node {
  Executor::Task task;
  std::shared_ptr<State> state;  // the arena, for as long as it has tasks
  std::atomic<bool> published{false};

  void run() noexcept {
    published.load(std::memory_order_acquire);
    const std::shared_ptr<Gate> gate = state->gate;
    const void* before = std::exchange(running_on, state.get());
    try {
      task();
    } catch (...) {
      // An exception leaving an enqueued task would end the process. settle_guarded and
      // invoke_guarded have already turned it into a result.
    }
    // What the task owns, and the arena, go before the task counts as finished: whoever waits for
    // that may end the process next, and libtbb must not be called after.
    task = nullptr;
    running_on = before;
    state = nullptr;
    gate->finish_one();
  }
};

TbbExecutor::TbbExecutor(int threads)
    : threads_(resolve_threads(threads)), state_(std::make_shared<State>(threads_)) {}

TbbExecutor::~TbbExecutor() {
  if (is_worker_thread()) {
    MutexLock lock(state_->gate->mutex);
    state_->gate->stopping = true;  // the remaining tasks hold the state and finish by themselves
    return;
  }
  shutdown(std::chrono::steady_clock::now() + std::chrono::seconds(5));
}

bool TbbExecutor::post(Task task) noexcept {
  const std::shared_ptr<Gate> gate = state_->gate;
  {
    MutexLock lock(gate->mutex);
    // Tasks may still queue their successors. If those ran inside them instead, a chain of
    // thousands of steps, each ending the next, would be a recursion of that depth.
    if (gate->stopping && !is_worker_thread()) return false;
    ++gate->pending;
  }
  try {
    auto node = std::make_shared<Node>();
    node->task = std::move(task);
    node->state = state_;
    node->published.store(true, std::memory_order_release);
    state_->arena.enqueue([node] { node->run(); });
    return true;
  } catch (...) {  // out of memory: the caller runs the task itself
    gate->finish_one();
    return false;
  }
}

bool TbbExecutor::is_worker_thread() const noexcept { return running_on == state_.get(); }

bool TbbExecutor::shutdown(std::chrono::steady_clock::time_point deadline) noexcept {
  Gate& gate = *state_->gate;
  MutexLock lock(gate.mutex);
  gate.stopping = true;
  while (gate.pending > 0) {
    if (!gate.idle.wait_until(gate.mutex, deadline)) return gate.pending == 0;
  }
  return true;
}

}  // namespace tinkex::internal
