#include "torch_ext/ops/python_exit.h"

#include <dlfcn.h>

#include <atomic>
#include <chrono>

#include "tinkex/base/mutex.h"

namespace tinkex::torch_ext {
namespace {

using tinkex::internal::CondVar;
using tinkex::internal::Mutex;
using tinkex::internal::MutexLock;

constexpr std::chrono::seconds kPatience{5};

class Gate {
 public:
  /// Never destroyed: the executor's threads may outlive static variables.
  static Gate& instance() {
    static Gate* const gate = new Gate;
    return *gate;
  }

  bool enter() TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (!closed_) ++inside_;
    return !closed_;
  }

  void leave() TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (--inside_ == 0) changed_.notify_all();
  }

  void close() TINKEX_EXCLUDES(mutex_) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    MutexLock lock(mutex_);
    closed_ = true;
    while (inside_ > 0) {
      if (!changed_.wait_until(mutex_, deadline)) return;
    }
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool closed_ TINKEX_GUARDED_BY(mutex_) = false;
  int inside_ TINKEX_GUARDED_BY(mutex_) = 0;
};

template <class Function>
Function* find(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_DEFAULT, name));
}

}  // namespace

SettlePass::SettlePass() : given_(Gate::instance().enter()) {}

SettlePass::~SettlePass() {
  if (given_) Gate::instance().leave();
}

void stop_callbacks() { Gate::instance().close(); }

void stop_callbacks_at_python_exit() {
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
