#include "torch_ext/ops/reaper.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <deque>
#include <memory>
#include <thread>
#include <utility>

#include "tinkex/base/mutex.h"
#include "tinkex/base/process_mark.h"

namespace tinkex::torch_ext {
namespace {

using tinkex::internal::CondVar;
using tinkex::internal::Mutex;
using tinkex::internal::MutexLock;

constexpr std::chrono::seconds kExitPatience{5};

/// Whether this is the thread of a Reaper.
thread_local bool on_reaper = false;

class Reaper {
 public:
  /// That of this process: a child of fork has a thread of its own. Never destroyed: objects may
  /// still be dropped while the process exits.
  static Reaper& instance() {
    Reaper* current = latest().load();
    while (current == nullptr || current->in_forked_child()) {
      auto made = std::make_unique<Reaper>();
      made->start();
      Reaper* const mine = made.release();  // its thread does not end
      if (latest().compare_exchange_strong(current, mine)) return *mine;
    }
    return *current;
  }

  /// Waits for the one of this process, if there is one.
  static void drain_if_there(std::chrono::steady_clock::duration patience) {
    Reaper* const current = latest().load();
    if (current != nullptr && !current->in_forked_child()) (void)current->drain(patience);
  }

  void add(std::shared_ptr<const void> object) TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    queue_.push_back(std::move(object));
    ++added_;
    changed_.notify_all();
  }

  /// False if that took longer than `patience`.
  bool drain(std::chrono::steady_clock::duration patience) TINKEX_EXCLUDES(mutex_) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    MutexLock lock(mutex_);
    const std::size_t target = added_;
    while (dropped_ < target) {
      if (!changed_.wait_until(mutex_, deadline)) return dropped_ >= target;
    }
    return true;
  }

 private:
  static std::atomic<Reaper*>& latest() {
    static std::atomic<Reaper*> reaper{nullptr};
    return reaper;
  }

  bool in_forked_child() const { return process_.in_forked_child(); }

  void start() {
    std::thread([this] { run(); }).detach();
    static const int registered = std::atexit([] { drain_if_there(kExitPatience); });
    (void)registered;
  }

  [[noreturn]] void run() TINKEX_EXCLUDES(mutex_) {
    on_reaper = true;
    for (;;) {
      std::shared_ptr<const void> object = next();
      object.reset();  // outside the lock: this is the part that may wait
      MutexLock lock(mutex_);
      ++dropped_;
      changed_.notify_all();
    }
  }

  std::shared_ptr<const void> next() TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (queue_.empty()) changed_.wait(mutex_);
    std::shared_ptr<const void> object = std::move(queue_.front());
    queue_.pop_front();
    return object;
  }

  const internal::ProcessMark process_;

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::shared_ptr<const void>> queue_ TINKEX_GUARDED_BY(mutex_);
  std::size_t added_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::size_t dropped_ TINKEX_GUARDED_BY(mutex_) = 0;
};

}  // namespace

void prepare_to_drop() { (void)Reaper::instance(); }

void drop_later(std::shared_ptr<const void> object, internal::ProcessMark made_in) noexcept {
  try {
    if (made_in.in_forked_child()) {
      new std::shared_ptr<const void>(std::move(object));
    } else if (!on_reaper) {  // who waits for what was queued waits for all of it
      Reaper::instance().add(std::move(object));
    }
  } catch (...) {
    // No thread or no memory: the object is dropped here, which may wait, but loses nothing.
  }
}

std::shared_ptr<const void> dropped_later(std::shared_ptr<const void> object,
                                          internal::ProcessMark made_in) {
  if (!object) return nullptr;
  const void* const address = object.get();
  return {address, [held = std::move(object), made_in](const void*) mutable {
            drop_later(std::move(held), made_in);
          }};
}

void wait_until_dropped() { Reaper::drain_if_there(std::chrono::hours(1)); }

}  // namespace tinkex::torch_ext
