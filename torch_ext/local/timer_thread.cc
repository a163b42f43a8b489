#include "torch_ext/local/timer_thread.h"

#include <map>
#include <unordered_map>
#include <utility>

#include "tinkex/base/mutex.h"

namespace tinkex::torch_ext::local {

/// Shared with the thread, which may outlive the TimerThread.
struct TimerThread::State {
  using Queue = std::multimap<Clock::time_point, std::pair<TimerId, Callback>>;

  /// Runs what is due until stopped, then everything that is left.
  void loop();
  void wait_for_first() TINKEX_REQUIRES(mutex);
  Callback take_first() TINKEX_REQUIRES(mutex);

  internal::Mutex mutex;
  internal::CondVar changed;
  Queue queue TINKEX_GUARDED_BY(mutex);
  std::unordered_map<TimerId, Queue::iterator> by_id TINKEX_GUARDED_BY(mutex);
  TimerId last_id TINKEX_GUARDED_BY(mutex) = 0;
  bool stopped TINKEX_GUARDED_BY(mutex) = false;
};

TimerThread::TimerThread()
    : state_(std::make_shared<State>()), thread_([state = state_] { state->loop(); }) {}

TimerThread::~TimerThread() {
  {
    internal::MutexLock lock(state_->mutex);
    state_->stopped = true;
    state_->changed.notify_all();
  }
  if (std::this_thread::get_id() == thread_.get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

TimerThread::TimerId TimerThread::schedule(Clock::time_point when, Callback callback) noexcept {
  internal::MutexLock lock(state_->mutex);
  const TimerId id = ++state_->last_id;
  if (state_->stopped) {
    lock.unlock();
    callback();
    return id;
  }
  const auto place = state_->queue.emplace(when, std::pair(id, std::move(callback)));
  state_->by_id.emplace(id, place);
  if (place == state_->queue.begin()) state_->changed.notify_all();
  return id;
}

void TimerThread::cancel(TimerId id) noexcept {
  Callback dropped;  // Destroyed after the lock: what it captures may call back.
  internal::MutexLock lock(state_->mutex);
  const auto found = state_->by_id.find(id);
  if (found == state_->by_id.end()) return;
  dropped = std::move(found->second->second.second);
  state_->queue.erase(found->second);
  state_->by_id.erase(found);
  lock.unlock();
}

void TimerThread::State::loop() {
  internal::MutexLock lock(mutex);
  while (true) {
    wait_for_first();
    if (queue.empty()) return;
    Callback callback = take_first();
    lock.unlock();
    try {
      callback();
    } catch (...) {
      // It has failed for its owner; the other timers go on.
    }
    callback = nullptr;
    lock.lock();
  }
}

void TimerThread::State::wait_for_first() {
  while (!stopped) {
    if (queue.empty()) {
      changed.wait(mutex);
      continue;
    }
    const Clock::time_point when = queue.begin()->first;
    if (when <= std::chrono::steady_clock::now()) return;
    changed.wait_until(mutex, when);
  }
}

TimerThread::Callback TimerThread::State::take_first() {
  const auto first = queue.begin();
  Callback callback = std::move(first->second.second);
  by_id.erase(first->second.first);
  queue.erase(first);
  return callback;
}

}  // namespace tinkex::torch_ext::local
