#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "tinkex/async/last_word.h"
#include "tinkex/async/poll_gate.h"
#include "tinkex/async/step_chain.h"
#include "tinkex/base/mutex.h"
#include "tinkex/limits/rate_limiter.h"

namespace tinkex::internal {

/// Which sampling session to ask about, and how.
struct SessionTarget {
  std::string sampling_session_id;
  /// retrieve_futures with all headers set; its body is filled in here.
  HttpRequest http;
  /// Bounds the polls of the service; this is one of them.
  std::shared_ptr<PollGate> polls;
  /// Fed by every 429. May be null.
  std::shared_ptr<RateLimiter> limiter;
  /// Polls that fail one after another for longer than this end the asking for many at once.
  std::chrono::milliseconds max_failing{600'000};
  /// So do polls that are held without any answer, and 402s, for longer than this.
  std::chrono::milliseconds max_silence{3'600'000};
  /// Who has waited for longer than this asks for itself: a report may have been lost.
  std::chrono::milliseconds max_wait{600'000};
};

/// Learns which futures of one sampling session are settled, with one long poll for all of them
/// (retrieve_futures; the API's protocol since SDK 0.38). The results themselves are fetched one by
/// one afterwards, so a storm of samples holds one connection while it waits.
///
/// A server that refuses the call or keeps failing is not asked again: everybody who waits, then
/// and later, is sent to ask for itself. A report that only acknowledges is not repeated.
///
/// Races. The maps are under the mutex, and callbacks run without it. The chain runs while somebody
/// waits or something is to be reported; whoever finds it idle starts it, and it decides under the
/// mutex that it is idle. A future may be reported before its waiter is registered; the latest of
/// these are remembered in `early_`.
class SessionPoll final : public StepChain {
 public:
  /// Runs on the executor, or in wait_for() itself, once: the future is settled, or must be asked
  /// for on its own. `bytes` is the size of the result where the server announced it, else 0.
  using Ready = std::function<void(std::uint64_t bytes)>;

  SessionPoll(std::shared_ptr<Runtime> runtime, SessionTarget target)
      : StepChain(std::move(runtime)), target_(std::move(target)) {}

  /// Calls `ready` when the future is settled.
  ///
  /// `owner` says whose wait this is, and is never followed: a server may give one id to two
  /// samples. The second then asks for itself. `last_word`, which may be null, is told what the
  /// poll suffers from while this one waits for it.
  void wait_for(const std::string& request_id, const void* owner, Ready ready,
                const LastWordPtr& last_word = nullptr) TINKEX_EXCLUDES(mutex_);
  /// `owner` does not wait for this one any more.
  void forget(const std::string& request_id, const void* owner) TINKEX_EXCLUDES(mutex_);
  /// The result has been fetched: the server may drop it.
  void retrieved(const std::string& request_id) TINKEX_EXCLUDES(mutex_);

 private:
  struct Report;
  struct Waiter {
    const void* owner = nullptr;
    Ready ready;
    LastWordPtr last_word;
    Clock::time_point since;
  };

  /// What failed before the chain went idle says nothing about who waits next, perhaps much later.
  void forget_troubles() TINKEX_REQUIRES(mutex_);
  /// Tells everybody who waits, and who comes to wait, what the poll suffers from; empty: nothing.
  void tell_trouble(const std::string& trouble) TINKEX_EXCLUDES(mutex_);
  /// Starts the chain if it is idle and has something to do.
  void start_if_idle() TINKEX_EXCLUDES(mutex_);
  void poll();
  void send();
  void on_no_answer(const Error& error);
  /// Whether a condition that began at `begin`, or now, has lasted too long.
  bool lasts_too_long(std::optional<Clock::time_point>& begin, Clock::duration most);
  void on_reply(Result<HttpResponse> result);
  void on_report(const HttpResponse& response);
  void on_failure(const Error& error);
  void continue_after(Clock::duration delay);
  /// For whom waiting is over, or no use: the size of the result, or 0 where it is not known.
  std::optional<std::uint64_t> size_if_known(const std::string& request_id) TINKEX_REQUIRES(mutex_);
  void remember_early(const std::string& request_id, std::uint64_t bytes) TINKEX_REQUIRES(mutex_);
  /// Sends away who has waited too long.
  void release_patient() TINKEX_EXCLUDES(mutex_);
  /// Sends everybody away, and refuses those who come later.
  void give_up() TINKEX_EXCLUDES(mutex_);
  std::shared_ptr<const ByteBuffer> next_body() TINKEX_REQUIRES(mutex_);
  std::shared_ptr<SessionPoll> self() {
    return std::static_pointer_cast<SessionPoll>(shared_from_this());
  }

  const SessionTarget target_;

  Mutex mutex_;
  std::map<std::string, Waiter> waiting_ TINKEX_GUARDED_BY(mutex_);
  std::map<std::string, std::uint64_t> early_ TINKEX_GUARDED_BY(mutex_);
  std::deque<std::string> early_order_ TINKEX_GUARDED_BY(mutex_);
  std::set<std::string> retrieved_ TINKEX_GUARDED_BY(mutex_);
  /// Why results are not asked for at the moment; null: all is well.
  LastWord::Text trouble_ TINKEX_GUARDED_BY(mutex_);
  bool active_ TINKEX_GUARDED_BY(mutex_) = false;
  bool refused_ TINKEX_GUARDED_BY(mutex_) = false;

  // Of the chain alone.
  std::set<std::string> reported_;  // by the poll under way
  std::int64_t cursor_ = 0;
  bool only_reports_ = false;  // the poll under way
  Clock::time_point sent_{};
  std::optional<Clock::time_point> silent_since_;
  std::optional<Clock::time_point> paused_since_;
  std::optional<Clock::time_point> failing_since_;
  int failures_ = 0;
  int refusals_ = 0;
  int quick_answers_ = 0;
};

}  // namespace tinkex::internal
