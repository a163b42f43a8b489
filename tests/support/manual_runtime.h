#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "tinkex/async/runtime.h"
#include "tinkex/base/mutex.h"
#include "tinkex/http/timer_queue.h"

namespace tinkex::testing {

/// Time that moves only when told.
class ManualClock final : public Clock {
 public:
  time_point now() const noexcept override { return time_point(duration(ticks_.load())); }
  void set(time_point when) { ticks_.store(when.time_since_epoch().count()); }

 private:
  std::atomic<duration::rep> ticks_{std::chrono::nanoseconds(std::chrono::hours(1)).count()};
};

/// Runs a task when told to, in the order posted.
class ManualExecutor final : public Executor {
 public:
  bool post(Task task) noexcept override {
    internal::MutexLock lock(mutex_);
    tasks_.push_back(std::move(task));
    return true;
  }
  bool is_worker_thread() const noexcept override {
    return running_on_.load() == std::this_thread::get_id();
  }

  /// Runs tasks until none is left.
  void run_all() {
    for (;;) {
      Task task;
      {
        internal::MutexLock lock(mutex_);
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      running_on_ = std::this_thread::get_id();
      task();
      running_on_ = std::thread::id();
    }
  }

 private:
  internal::Mutex mutex_;
  std::deque<Task> tasks_;
  std::atomic<std::thread::id> running_on_{};
};

/// Keeps every exchange open until the test answers it.
class FakeTransport final : public Transport {
 public:
  struct Exchange {
    RequestId id;
    HttpRequest request;
    Callback callback;
    std::string body() const { return request.body ? std::string(request.body->view()) : ""; }
  };

  /// Whether the bodies of open exchanges have not left in full yet.
  std::atomic<bool> uploading{false};

  RequestId send(HttpRequest request, Callback callback) noexcept override {
    internal::MutexLock lock(mutex_);
    open_.push_back({++last_id_, std::move(request), std::move(callback)});
    ++sent_;
    return last_id_;
  }
  void cancel(RequestId id) noexcept override {
    answer_where([id](const Exchange& exchange) { return exchange.id == id; },
                 Error(ErrorCode::kCancelled, "cancelled"));
  }
  void withdraw(RequestId id) noexcept override {
    if (!uploading) return;
    answer_where([id](const Exchange& exchange) { return exchange.id == id; },
                 Error(ErrorCode::kCancelled, "withdrawn").with_not_accepted(true));
  }
  void shutdown() noexcept override {
    while (open() > 0) fail(Error(ErrorCode::kClosed, "closed"));
  }

  std::size_t open() const {
    internal::MutexLock lock(mutex_);
    return open_.size();
  }
  std::size_t sent() const {
    internal::MutexLock lock(mutex_);
    return sent_;
  }
  /// The oldest open exchange's request, copied.
  HttpRequest front() const {
    internal::MutexLock lock(mutex_);
    return open_.front().request;
  }
  std::string front_body() const {
    const HttpRequest request = front();
    return request.body ? std::string(request.body->view()) : "";
  }
  /// Answers the oldest open exchange.
  void reply(int status, std::string body, HttpHeaders headers = {}) {
    HttpResponse response;
    response.status = status;
    response.body = std::move(body);
    response.headers = std::move(headers);
    answer_where([](const Exchange&) { return true; }, std::move(response));
  }
  void fail(Error error) {
    answer_where([](const Exchange&) { return true; }, std::move(error));
  }
  /// Answers the open exchange that carries this body.
  void answer(std::string_view body, Result<HttpResponse> result) {
    answer_where([body](const Exchange& exchange) { return exchange.body() == body; },
                 std::move(result));
  }
  /// The bodies of the open exchanges, oldest first.
  std::vector<std::string> bodies() const {
    internal::MutexLock lock(mutex_);
    std::vector<std::string> found;
    for (const Exchange& exchange : open_) found.push_back(exchange.body());
    return found;
  }

 private:
  template <class Which>
  void answer_where(Which which, Result<HttpResponse> result) {
    Callback callback;
    {
      internal::MutexLock lock(mutex_);
      for (auto it = open_.begin(); it != open_.end(); ++it) {
        if (!which(*it)) continue;
        callback = std::move(it->callback);
        open_.erase(it);
        break;
      }
    }
    if (callback) callback(std::move(result));
  }

  mutable internal::Mutex mutex_;
  std::deque<Exchange> open_;
  RequestId last_id_ = 0;
  std::size_t sent_ = 0;
};

/// Timers that fire when the test moves the clock.
class ManualTimers final : public internal::TimerService {
 public:
  explicit ManualTimers(std::shared_ptr<ManualClock> clock) : clock_(std::move(clock)) {}

  TimerId schedule(Clock::time_point when, Callback callback) noexcept override {
    internal::MutexLock lock(mutex_);
    queue_.add(++last_id_, when, std::move(callback));
    return last_id_;
  }
  void cancel(TimerId id) noexcept override {
    internal::MutexLock lock(mutex_);
    queue_.cancel(id);
  }

  /// Time until the next timer; zero if none waits.
  Clock::duration next_delay() const {
    internal::MutexLock lock(mutex_);
    const auto next = queue_.next_deadline();
    return next ? *next - clock_->now() : Clock::duration::zero();
  }
  void fire_due() {
    std::vector<Callback> due;
    {
      internal::MutexLock lock(mutex_);
      due = queue_.take_due(clock_->now());
    }
    for (const Callback& callback : due) callback();
  }

 private:
  const std::shared_ptr<ManualClock> clock_;
  mutable internal::Mutex mutex_;
  internal::TimerQueue queue_;
  TimerId last_id_ = 0;
};

/// A Runtime in which nothing happens by itself.
struct ManualRuntime {
  std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>();
  std::shared_ptr<ManualExecutor> executor = std::make_shared<ManualExecutor>();
  std::shared_ptr<FakeTransport> transport = std::make_shared<FakeTransport>();
  std::shared_ptr<ManualTimers> timers = std::make_shared<ManualTimers>(clock);
  std::shared_ptr<internal::Runtime> runtime = make();

  /// Moves time, fires what is due and runs what follows.
  void advance(Clock::duration by) {
    clock->set(clock->now() + by);
    timers->fire_due();
    executor->run_all();
  }
  void reply(int status, std::string body, HttpHeaders headers = {}) {
    transport->reply(status, std::move(body), std::move(headers));
    executor->run_all();
  }
  /// Ends everything that is under way, as closing a service does: whatever waits holds the runtime
  /// that it waits in.
  void close() {
    runtime->closed = true;
    transport->shutdown();
    executor->run_all();
    advance(std::chrono::hours(24));
  }
  void fail(Error error) {
    transport->fail(std::move(error));
    executor->run_all();
  }

 private:
  std::shared_ptr<internal::Runtime> make() const {
    auto made = std::make_shared<internal::Runtime>();
    made->clock = clock;
    made->executor = executor;
    made->transport = transport;
    made->timers = timers;
    made->buffers = internal::BufferPool::create();
    made->random = std::make_shared<internal::RandomSource>(1);
    return made;
  }
};

}  // namespace tinkex::testing
