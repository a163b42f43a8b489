#include "torch_ext/ops/reaper.h"

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <deque>
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

class Reaper {
 public:
  /// Never destroyed: objects may still be dropped while the process exits.
  static Reaper& instance() {
    static Reaper* const reaper = new Reaper;
    return *reaper;
  }

  void add(std::shared_ptr<const void> object) TINKEX_EXCLUDES(mutex_) {
    if (in_forked_child()) {
      // The threads that the object would join were not copied by fork: it is given up.
      new std::shared_ptr<const void>(std::move(object));
      return;
    }
    MutexLock lock(mutex_);
    queue_.push_back(std::move(object));
    ++added_;
    changed_.notify_all();
  }

  /// False if that took longer than `patience`.
  bool drain(std::chrono::steady_clock::duration patience) TINKEX_EXCLUDES(mutex_) {
    if (in_forked_child()) return true;
    const auto deadline = std::chrono::steady_clock::now() + patience;
    MutexLock lock(mutex_);
    const std::size_t target = added_;
    while (dropped_ < target) {
      if (!changed_.wait_until(mutex_, deadline)) return dropped_ >= target;
    }
    return true;
  }

 private:
  Reaper() {
    std::thread([this] { run(); }).detach();
    std::atexit([] { (void)instance().drain(kExitPatience); });
  }

  bool in_forked_child() const { return process_.in_forked_child(); }

  [[noreturn]] void run() TINKEX_EXCLUDES(mutex_) {
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

void drop_later(std::shared_ptr<const void> object) noexcept {
  try {
    Reaper::instance().add(std::move(object));
  } catch (...) {
    // No thread or no memory: the object is dropped here, which may wait, but loses nothing.
  }
}

void wait_until_dropped() { (void)Reaper::instance().drain(std::chrono::hours(1)); }

}  // namespace tinkex::torch_ext
