#include "torch_ext/ops/python_exit.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "tinkex/base/mutex.h"
#include "tinkex/base/process_mark.h"
#include "torch_ext/connect.h"
#include "torch_ext/ops/python_lock.h"

namespace tinkex::torch_ext {
namespace {

using tinkex::internal::CondVar;
using tinkex::internal::Mutex;
using tinkex::internal::MutexLock;

constexpr std::chrono::seconds kPatience{5};
/// For a thread that has left its wait, to take Python's lock.
constexpr std::chrono::milliseconds kWayBack{20};

}  // namespace

/// A place that nobody may enter any more once it is closed. It counts the threads inside that came
/// before begin_closing(); for others nobody waits.
class Gate {
 public:
  /// Whether the thread is counted; absent once it is closed.
  std::optional<bool> enter() TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (closed_) return std::nullopt;
    if (closing_) {
      busy_ = true;
    } else {
      ++inside_;
    }
    return !closing_;
  }

  /// Whether it is closed.
  bool leave(bool counted) TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (counted && --inside_ == 0) changed_.notify_all();
    return closed_;
  }

  void begin_closing() TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    closing_ = true;
    busy_ = inside_ > 0;
  }

  void close() TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    closed_ = true;
  }

  /// Whether somebody was inside since begin_closing(), also if only for a moment.
  bool was_busy() const TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return busy_;
  }

  /// Lets the thread go on after so long; without an argument never.
  void pause(std::optional<std::chrono::milliseconds> duration = {}) TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (!duration) changed_.wait(mutex_);
    const auto end = std::chrono::steady_clock::now() + *duration;
    while (std::chrono::steady_clock::now() < end) changed_.wait_until(mutex_, end);
  }

  void wait_until_gone() TINKEX_EXCLUDES(mutex_) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    MutexLock lock(mutex_);
    while (inside_ > 0) {
      if (!changed_.wait_until(mutex_, deadline)) return;
    }
  }

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  bool closing_ TINKEX_GUARDED_BY(mutex_) = false;
  bool closed_ TINKEX_GUARDED_BY(mutex_) = false;
  bool busy_ TINKEX_GUARDED_BY(mutex_) = false;
  int inside_ TINKEX_GUARDED_BY(mutex_) = 0;
};

namespace {

/// The services that are open.
class OpenServices {
 public:
  void add(std::weak_ptr<Connection> connection) TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    std::erase_if(connections_, [](const auto& one) { return one.expired(); });
    connections_.push_back(std::move(connection));
  }

  void close_all() TINKEX_EXCLUDES(mutex_) {
    std::vector<std::weak_ptr<Connection>> connections;
    {
      MutexLock lock(mutex_);
      connections.swap(connections_);
    }
    for (const auto& one : connections) {
      if (const auto connection = one.lock()) connection->service.close();
    }
  }

 private:
  Mutex mutex_;
  std::vector<std::weak_ptr<Connection>> connections_ TINKEX_GUARDED_BY(mutex_);
};

/// What a process has of all this. A child of fork has its own: the threads that may hold a lock of
/// its parent's, or be counted there, are not in it. Never destroyed: the executor's threads may
/// outlive static variables.
struct ProcessExit {
  static ProcessExit& of_this_process() {
    static std::atomic<ProcessExit*> latest{nullptr};
    ProcessExit* current = latest.load();
    while (current == nullptr || current->process.in_forked_child()) {
      auto made = std::make_unique<ProcessExit>();
      if (latest.compare_exchange_strong(current, made.get())) return *made.release();
    }
    return *current;
  }

  bool is_leaving_thread() const { return leaving_thread.load() == std::this_thread::get_id(); }

  const tinkex::internal::ProcessMark process{};
  Gate settling;
  Gate waiting;
  OpenServices services;
  std::atomic<std::thread::id> leaving_thread;
};

}  // namespace

SettlePass::SettlePass()
    : gate_(ProcessExit::of_this_process().settling), given_(gate_.enter().has_value()) {}

SettlePass::~SettlePass() {
  if (given_) gate_.leave(/*counted=*/true);
}

WaitPass::WaitPass() : gate_(ProcessExit::of_this_process().waiting) {
  while (!(counted_ = gate_.enter())) {
    if (ProcessExit::of_this_process().is_leaving_thread()) return;
    gate_.pause();  // the process ends meanwhile
  }
}

WaitPass::~WaitPass() {
  // Who comes too late, as from a wait that has outlasted kPatience, would find Python finalising.
  if (counted_ && gate_.leave(*counted_) && !ProcessExit::of_this_process().is_leaving_thread()) {
    gate_.pause();
  }
}

void leave_python() {
  ProcessExit& here = ProcessExit::of_this_process();
  here.leaving_thread = std::this_thread::get_id();
  here.settling.close();
  here.waiting.begin_closing();
  here.services.close_all();
  here.settling.wait_until_gone();
  // Who was in a wait may still tell what came of it.
  here.waiting.wait_until_gone();
  if (here.waiting.was_busy()) here.waiting.pause(kWayBack);
  here.waiting.close();
  if (here.waiting.was_busy()) here.waiting.pause(kWayBack);  // who has left just before
}

void close_at_exit(std::weak_ptr<Connection> connection) {
  static const int registered =
      std::atexit([] { ProcessExit::of_this_process().services.close_all(); });
  (void)registered;
  ProcessExit::of_this_process().services.add(std::move(connection));
}

void leave_python_at_its_exit() {
  static std::atomic<bool> asked{false};
  if (asked.load()) return;
  // These four have been in every Python 3; the state is an enumeration.
  const auto initialized = python_function<int()>("Py_IsInitialized");
  const auto acquire = python_function<int()>("PyGILState_Ensure");
  const auto release = python_function<void(int)>("PyGILState_Release");
  const auto run = python_function<int(const char*, void*)>("PyRun_SimpleStringFlags");
  // A program may start Python later: the next call looks again.
  if (!initialized || !acquire || !release || !run || initialized() == 0) return;
  if (asked.exchange(true)) return;
  const int state = acquire();
  run("__import__('atexit').register(__import__('torch').ops.tinkex.stop_callbacks)", nullptr);
  release(state);
}

}  // namespace tinkex::torch_ext
