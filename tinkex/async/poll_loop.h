#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "tinkex/async/last_word.h"
#include "tinkex/async/poll_gate.h"
#include "tinkex/async/poll_reply.h"
#include "tinkex/async/step_chain.h"
#include "tinkex/limits/rate_limiter.h"

namespace tinkex::internal {

/// Which server-side future to wait for, and how.
struct PollTarget {
  std::string request_id;
  /// retrieve_future with all headers set but the iteration; its body is filled in here.
  HttpRequest http;
  /// Named in errors: "optim_step".
  std::string what;
  /// Fed by every 429. May be null.
  std::shared_ptr<RateLimiter> limiter;
  /// Told why the result is not there yet. May be null.
  LastWordPtr last_word;
  /// Admits a result whose size the server announces, by its bytes. May be null.
  std::shared_ptr<PollGate> result_bytes;
  /// That size, where it is known from the start; else 0.
  std::uint64_t announced_bytes = 0;
  /// Polls that fail one after another (connection, 5xx, 429) for longer than this end the wait.
  std::chrono::milliseconds max_failing{600'000};
  /// How long a 402 (billing pause) is waited out.
  std::chrono::milliseconds max_billing_pause{3'600'000};
  /// How long every poll may be taken and held without any answer. Some servers hold one for ten
  /// minutes.
  std::chrono::milliseconds max_silence{3'600'000};
};

/// Polls one future until its result is there, it has failed, or asking is hopeless. One state
/// machine per future, no thread.
///
/// "Not done yet" and "failed to ask" take different paths: the first asks again (the server holds
/// the request; an answer that came back at once is not trusted to have been held and earns a
/// growing pause), the second backs off and has a budget, which begins with the first failure. The
/// table is that of the API's protocol, 5.4, with three changes: a 5xx earns a pause, a 4xx other
/// than 408, 410 and 429 ends the wait, and Retry-After is honoured.
class PollLoop final : public StepChain {
 public:
  /// Runs on the executor, exactly once.
  using Done = std::function<void(Result<HttpResponse>)>;

  static std::shared_ptr<PollLoop> start(std::shared_ptr<Runtime> runtime,
                                         std::shared_ptr<PollGate> gate, PollTarget target,
                                         Done done);

 private:
  PollLoop(std::shared_ptr<Runtime> runtime, std::shared_ptr<PollGate> gate, PollTarget target,
           Done done);

  void poll();
  void send();
  void on_reply(Result<HttpResponse> result);
  void on_no_answer(Error error);
  void on_pending(const PollReply& reply);
  void on_metadata(std::uint64_t bytes);
  /// Fetches the result itself, once there is room for it.
  void fetch(std::uint64_t bytes);
  void on_failure_to_ask(Error error);
  void asked_successfully();
  /// How long a condition has lasted; it begins now if it had not begun.
  Clock::duration time_since(std::optional<Clock::time_point>& begin);
  void again_after(Clock::duration delay);
  void finish(Result<HttpResponse> result);
  std::shared_ptr<PollLoop> self() {
    return std::static_pointer_cast<PollLoop>(shared_from_this());
  }

  const std::shared_ptr<PollGate> gate_;
  PollTarget target_;
  Done done_;

  Clock::time_point sent_{};
  // Each from the first of its kind in a row.
  std::optional<Clock::time_point> failing_since_;
  std::optional<Clock::time_point> paused_since_;
  std::optional<Clock::time_point> silent_since_;
  int iteration_ = 0;
  int failures_ = 0;       // in a row
  int quick_answers_ = 0;  // in a row
  bool metadata_seen_ = false;
  std::size_t reserved_ = 0;  // of result_bytes
};

}  // namespace tinkex::internal
