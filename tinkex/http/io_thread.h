#pragma once

// The one thread that waits: libcurl's transfers and the timers of a service.
//
// Threads. Everything libcurl and every timer lives on the I/O thread. Other threads hand it
// commands through a lock-free queue (command_queue.h argues its races) and wake it with
// curl_multi_wakeup when the queue was empty. A push that comes after the thread took the queue and
// before it polls finds the queue empty, so the wake-up is already pending when the poll begins:
// none is lost. Callbacks run here and only hand work to the executor.
//
// Exactly once. A command is either taken by the thread or refused by the closed queue. Transfers
// that the thread knows end by their reply, by cancel, or when it stops; a refused send calls back
// with kClosed in the caller's thread, a refused timer runs there.

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "tinkex/async/timer_service.h"
#include "tinkex/base/mutex.h"
#include "tinkex/clock.h"
#include "tinkex/http/command_queue.h"
#include "tinkex/http/curl_transfer.h"
#include "tinkex/http/reply_memory.h"
#include "tinkex/http/start_window.h"
#include "tinkex/http/timer_queue.h"
#include "tinkex/transport.h"

namespace tinkex::internal {

class IoThread final : public Transport, public TimerService {
 public:
  static Result<std::shared_ptr<IoThread>> start(std::shared_ptr<Clock> clock,
                                                 CurlSettings settings = {});

  // Transport.
  RequestId send(HttpRequest request, Transport::Callback callback) noexcept override;
  /// Connections open at the same time; a transfer beyond waits for one to end, unless it is
  /// urgent, for which there is one more. Half of what the process may open, at most 2,048: files,
  /// and programs around us, need descriptors too.
  std::size_t max_connections() const noexcept { return max_connections_; }

  /// Also wakes every timer. On the I/O thread itself it only asks for the end.
  void shutdown() noexcept override;

  // TimerService.
  TimerId schedule(Clock::time_point when, TimerService::Callback callback) noexcept override;

  /// Both interfaces' cancel: the ids of exchanges and timers are drawn from one counter.
  void cancel(std::uint64_t id) noexcept override;
  void withdraw(Transport::RequestId id) noexcept override;
  void recycle(std::string body) noexcept override;

 private:
  struct Command {
    enum class Kind { kNone, kSend, kSchedule, kCancel, kWithdraw, kStop };
    Kind kind = Kind::kNone;
    std::uint64_t id = 0;
    HttpRequest request{};
    Transport::Callback on_reply{};
    Clock::time_point when{};
    TimerService::Callback on_time{};
  };
  struct Running {
    std::unique_ptr<CurlTransfer> transfer;
    std::uint64_t ticket = 0;  // of the window
  };
  using Transfers = std::unordered_map<RequestId, Running>;

  IoThread(std::shared_ptr<Clock> clock, CurlSettings settings);
  ~IoThread() override;

  /// Deleter of the shared pointer. When a callback drops the last one, the thread is in the middle
  /// of its loop and deletes the object itself when it ends.
  static void release(IoThread* io) noexcept;

  void push(Command command) noexcept;
  static void refuse(Command& command) noexcept;
  static void call_back(Command& send, Error error) noexcept;
  void run() noexcept;
  /// False once a stop command came.
  bool obey(std::vector<Command> commands);
  void obey_one(Command& command);
  /// Starts what waits, oldest first, as far as the window is open.
  void start_waiting();
  void begin(Command& command, StartWindow::TimePoint now);
  bool can_start();
  void cancel_transfer(std::uint64_t id);
  void withdraw_transfer(std::uint64_t id);
  void finish_completed();
  void finish_transfer(Transfers::iterator entry, Result<HttpResponse> result);
  void fire_due(Clock::time_point now) noexcept;
  int poll_timeout_ms() const;
  void end_everything() noexcept;

  const std::shared_ptr<Clock> clock_;
  const CurlSettings settings_;
  const std::size_t max_connections_;
  std::atomic<std::uint64_t> next_id_{1};
  CommandQueue<Command> commands_;
  std::atomic<bool> stopped_{false};
  ReplyMemory reply_memory_;

  // Outlives the thread: curl_multi_wakeup may be called until the destructor.
  CurlMulti multi_;

  // Touched by the I/O thread only. Destroyed before `multi_`, which their handles refer to.
  Transfers transfers_;
  // Sends that have not begun, by id, which is nearly the order in which they were asked for. Their
  // timeouts begin when they do.
  std::map<RequestId, Command> waiting_;
  StartWindow window_;
  std::vector<CurlEasy> idle_handles_;
  TimerQueue timers_;
  bool orphaned_ = false;

  Mutex join_mutex_;
  std::thread thread_ TINKEX_GUARDED_BY(join_mutex_);
};

}  // namespace tinkex::internal
