#include "torch_ext/ops/python_exit.h"

#include <dlfcn.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "tinkex/base/mutex.h"
#include "tinkex/base/process_mark.h"
#include "torch_ext/connect.h"

namespace tinkex::torch_ext {
namespace {

using tinkex::internal::CondVar;
using tinkex::internal::Mutex;
using tinkex::internal::MutexLock;

constexpr std::chrono::seconds kPatience{5};
/// For a thread that has left its wait, to take Python's lock.
constexpr std::chrono::milliseconds kWayBack{20};

/// A place that nobody may enter any more once it is closed. It counts the threads inside that came
/// before begin_closing(); for others nobody waits.
class Gate {
 public:
  /// Whether the thread is counted; absent once it is closed.
  std::optional<bool> enter() TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (closed_) return std::nullopt;
    if (!closing_) ++inside_;
    return !closing_;
  }

  /// Whether it is closed.
  bool leave(bool counted) TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (counted && --inside_ == 0) changed_.notify_all();
    return closed_;
  }

  /// Whether somebody is inside.
  bool begin_closing() TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    closing_ = true;
    return inside_ > 0;
  }

  void close() TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    closed_ = true;
  }

  /// Lets the thread go on after so long; without an argument never.
  void pause(std::optional<std::chrono::milliseconds> duration = {}) TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (!duration) changed_.wait(mutex_);
    const auto end = std::chrono::steady_clock::now() + *duration;
    while (std::chrono::steady_clock::now() < end) changed_.wait_until(mutex_, end);
  }

  /// In a child of fork, which has none of the threads, it does not wait.
  void wait_until_gone() TINKEX_EXCLUDES(mutex_) {
    if (process_.in_forked_child()) return;
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    MutexLock lock(mutex_);
    while (inside_ > 0) {
      if (!changed_.wait_until(mutex_, deadline)) return;
    }
  }

 private:
  const tinkex::internal::ProcessMark process_{};
  Mutex mutex_;
  CondVar changed_;
  bool closing_ TINKEX_GUARDED_BY(mutex_) = false;
  bool closed_ TINKEX_GUARDED_BY(mutex_) = false;
  int inside_ TINKEX_GUARDED_BY(mutex_) = 0;
};

// Never destroyed: the executor's threads may outlive static variables.
Gate& settling() {
  static Gate* const gate = new Gate;
  return *gate;
}
Gate& waiting() {
  static Gate* const gate = new Gate;
  return *gate;
}

/// The services that are open, with the processes that they belong to.
class OpenServices {
 public:
  static OpenServices& instance() {
    static OpenServices* const services = new OpenServices;
    return *services;
  }

  void add(std::weak_ptr<Connection> connection) TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    std::erase_if(entries_, [](const Entry& entry) { return entry.connection.expired(); });
    entries_.push_back({std::move(connection), {}});
  }

  void close_all() TINKEX_EXCLUDES(mutex_) {
    std::vector<Entry> entries;
    {
      MutexLock lock(mutex_);
      entries.swap(entries_);
    }
    for (const Entry& entry : entries) {
      if (entry.process.in_forked_child()) continue;
      if (const auto connection = entry.connection.lock()) connection->service.close();
    }
  }

 private:
  struct Entry {
    std::weak_ptr<Connection> connection;
    tinkex::internal::ProcessMark process;
  };
  Mutex mutex_;
  std::vector<Entry> entries_ TINKEX_GUARDED_BY(mutex_);
};

std::atomic<std::thread::id> leaving_thread;

bool is_leaving_thread() { return leaving_thread.load() == std::this_thread::get_id(); }

template <class Function>
Function* find(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_DEFAULT, name));
}

}  // namespace

SettlePass::SettlePass() : given_(settling().enter().has_value()) {}

SettlePass::~SettlePass() {
  if (given_) settling().leave(/*counted=*/true);
}

WaitPass::WaitPass() {
  while (!(counted_ = waiting().enter())) {
    if (is_leaving_thread()) return;
    waiting().pause();  // the process ends meanwhile
  }
}

WaitPass::~WaitPass() {
  // Who comes too late, as from a wait that has outlasted kPatience, would find Python finalising.
  if (counted_ && waiting().leave(*counted_) && !is_leaving_thread()) waiting().pause();
}

void leave_python() {
  leaving_thread = std::this_thread::get_id();
  settling().close();
  const bool expected = waiting().begin_closing();
  OpenServices::instance().close_all();
  settling().wait_until_gone();
  // Who was in a wait may still tell what came of it.
  waiting().wait_until_gone();
  if (expected) waiting().pause(kWayBack);
  waiting().close();
  if (expected) waiting().pause(kWayBack);  // who has left just before
}

void close_at_python_exit(std::weak_ptr<Connection> connection) {
  OpenServices::instance().add(std::move(connection));
}

void leave_python_at_its_exit() {
  static std::atomic<bool> asked{false};
  if (asked.exchange(true)) return;
  // The library does not link Python, so that C++ programs can do without it. These four have been
  // in every Python 3; the state is an enumeration.
  const auto initialized = find<int()>("Py_IsInitialized");
  const auto acquire = find<int()>("PyGILState_Ensure");
  const auto release = find<void(int)>("PyGILState_Release");
  const auto run = find<int(const char*, void*)>("PyRun_SimpleStringFlags");
  if (!initialized || !acquire || !release || !run || initialized() == 0) return;
  const int state = acquire();
  run("__import__('atexit').register(__import__('torch').ops.tinkex.stop_callbacks)", nullptr);
  release(state);
}

}  // namespace tinkex::torch_ext
