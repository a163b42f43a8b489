#pragma once

#include <atomic>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "tinkex/async/last_word.h"
#include "tinkex/async/step_chain.h"
#include "tinkex/limits/rate_limiter.h"
#include "tinkex/options.h"

namespace tinkex::internal {

/// A second form of a request, for a server that refuses the first one with 415 or 422.
struct OtherForm {
  /// Makes it from the refused request; runs on the executor. An error means that there is none.
  std::function<Result<HttpRequest>(const HttpRequest& refused)> make;
  /// Told once when the server has taken the request: in this form, or in the first.
  std::function<void(bool in_other_form)> taken;
};

/// What a status means after an attempt of unknown outcome, beside what `classify.h` says.
struct DoneBefore {
  /// 409 where a name is taken, 404 where nothing is left to delete.
  int status = 409;
  /// The body of the reply to that attempt, which the server took then. Absent: that is not
  /// certain.
  std::optional<std::string> reply = std::nullopt;
  /// Where it is not certain, or the refusal is about the order of requests or is no answer of this
  /// API, the request ends with the refusal behind these words.
  std::string doubt = {};
  /// Of what is made, if it has one: a refusal may quote it.
  std::string name = {};
};

/// One logical request and how it may be repeated.
struct RetryableRequest {
  HttpRequest http;
  RetryOptions retry;
  /// The most failures without a Retry-After, if that is less than `retry.max_attempts`.
  int most_attempts_unasked = std::numeric_limits<int>::max();
  /// Named in errors: "forward_backward".
  std::string what;
  /// Fed by every 429. May be null.
  std::shared_ptr<RateLimiter> limiter;
  /// Whether to wait until the limiter's window has passed before each attempt.
  bool wait_for_limiter = false;
  std::optional<DoneBefore> done_before = std::nullopt;
  /// Sent after a 415 or 422, once. If it is refused as well, the error is the refusal that tells
  /// more.
  std::optional<OtherForm> other_form = std::nullopt;
  /// Told why the request is repeated or held back. May be null.
  LastWordPtr last_word = nullptr;
  /// Whether withdraw() ends it between two attempts in any case.
  bool withdraw_in_doubt = false;
};

/// Sends a request until it succeeds, is refused for good, or the budget in count and time is
/// spent. Every attempt sends the same bytes, until the other form takes their place.
/// `classify.h` says what is worth repeating.
///
/// withdraw() ends it unless some attempt may have been carried out: then it goes on to learn
/// which. With `withdraw_in_doubt` it only waits for the reply to an attempt that is on the wire:
/// what nobody wants any more is not sent once more.
///
/// The final error is not_accepted() only if no attempt can have been taken by the server.
class RetryLoop final : public StepChain {
 public:
  /// Runs on the executor, exactly once, with a 2xx reply or an error.
  using Done = std::function<void(Result<HttpResponse>)>;

  RetryLoop(std::shared_ptr<Runtime> runtime, RetryableRequest request);

  /// Begins. Takes no lock; call it once.
  void start(Done done);

 private:
  bool may_withdraw() const noexcept override {
    return request_.withdraw_in_doubt || !outcome_unknown_.load();
  }
  void attempt();
  void on_reply(Result<HttpResponse> reply);
  void on_refusal(const HttpResponse& reply);
  bool take_other_form(const Error& refusal);
  void succeed(HttpResponse reply);
  /// What was spent of the budget, for an error.
  std::string spent(std::chrono::milliseconds elapsed) const;
  void retry_or_fail(Error error);
  void fail(Error error);
  void finish(Result<HttpResponse> result);
  std::shared_ptr<RetryLoop> self() {
    return std::static_pointer_cast<RetryLoop>(shared_from_this());
  }

  RetryableRequest request_;
  Done done_;
  Clock::time_point first_attempt_{};
  int attempts_ = 0;
  int unasked_ = 0;                           ///< Of these, failed without a Retry-After.
  std::optional<Error> first_refusal_;        // set when the other form has taken over
  std::atomic<bool> outcome_unknown_{false};  // some attempt may have been carried out
};

}  // namespace tinkex::internal
