#include "tinkex/retry/retry_loop.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "tinkex/base/text.h"
#include "tinkex/executor.h"
#include "tinkex/future.h"
#include "tinkex/retry/backoff.h"
#include "tinkex/retry/classify.h"

namespace tinkex::internal {
namespace {

// A 429 that names no delay. Long enough to matter, short enough for a server that misses one.
constexpr std::chrono::milliseconds kDefaultRateLimitPause{1'000};

/// Whether the server said that it will not take the request, and so did not.
bool is_refusal(int status) {
  return status >= 400 && status < 500 && status != 408 && status != 409;
}

/// Whether a refusal of the other form tells less than that of the first one. A server that does
/// not know the other form says 404, 405 or 415. A 400 or 422 is about the data, of which the first
/// refusal told already if it was a 422; all others are about the request itself: 401, 413, 429.
bool tells_less(int status, int first_status) {
  if (status == 404 || status == 405 || status == 415) return true;
  return (status == 400 || status == 422) && first_status == 422;
}

/// Whether a 409 is about the order of requests, as TuFT's is after an operation that failed, which
/// says nothing about what was asked for. The quoted `name` of what is made does not count.
bool speaks_of_a_sequence(const HttpResponse& reply, const std::string& name) {
  std::string text = lower_case(reply.body);
  const std::string quoted = "'" + lower_case(name) + "'";
  if (const std::size_t at = text.find(quoted); at != std::string::npos) {
    text.erase(at, quoted.size());
  }
  return text.find("sequence") != std::string::npos || text.find("seq_id") != std::string::npos;
}

/// Whether a refusal after an attempt of unknown outcome says that this attempt was the one that
/// did it.
bool tells_of_success(const HttpResponse& reply, const DoneBefore& done) {
  return done.reply && is_in_json(reply) &&
         (reply.status != 409 || !speaks_of_a_sequence(reply, done.name));
}

}  // namespace

RetryLoop::RetryLoop(std::shared_ptr<Runtime> runtime, RetryableRequest request)
    : StepChain(std::move(runtime)), request_(std::move(request)) {}

void RetryLoop::start(Done done) {
  done_ = std::move(done);
  first_attempt_ = runtime().clock->now();
  if (stopped() || withdrawn()) {  // `done` never runs inside start()
    return run_on(runtime().executor.get(), [self = self()] { self->attempt(); });
  }
  attempt();
}

void RetryLoop::attempt() {
  if (auto error = stopped()) return fail(*std::move(error));
  if (withdrawn()) return fail(cancelled_error().with_not_accepted(true));
  if (request_.wait_for_limiter && request_.limiter != nullptr) {
    // Looked at again after every wait: the window may have grown meanwhile.
    const Clock::time_point until = request_.limiter->until();
    if (runtime().clock->now() < until) {
      // What the server said of this very request tells more.
      if (attempts_ == 0) {
        note(request_.last_word, this,
             "an earlier 429 holds back every sample of this server and API key");
      }
      return pause_until(until, [self = self()] { self->attempt(); });
    }
  }
  if (attempts_ == 0) take_back(request_.last_word, this);  // nothing holds it back any more
  ++attempts_;
  exchange(request_.http,
           [self = self()](Result<HttpResponse> reply) { self->on_reply(std::move(reply)); });
}

void RetryLoop::on_reply(Result<HttpResponse> reply) {
  if (!reply.ok()) {
    Error error = std::move(reply).error();
    if (!error.not_accepted()) outcome_unknown_ = true;
    if (!error.retryable()) return fail(std::move(error).with_context(request_.what));
    return retry_or_fail(std::move(error).with_context(request_.what));
  }
  if (reply->status >= 200 && reply->status < 300) return succeed(*std::move(reply));
  on_refusal(*reply);
}

void RetryLoop::succeed(HttpResponse reply) {
  if (request_.other_form) request_.other_form->taken(first_refusal_.has_value());
  finish(std::move(reply));
}

void RetryLoop::on_refusal(const HttpResponse& reply) {
  if (auto error = stopped()) return fail(*std::move(error));
  const auto& done = request_.done_before;
  const bool may_be_done = done && reply.status == done->status && outcome_unknown_ &&
                           !equals_ignoring_case(reply.header("x-should-retry"), "true");
  if (may_be_done && tells_of_success(reply, *done)) {
    HttpResponse stored;
    stored.status = 200;
    stored.headers = {{"content-type", "application/json"}};
    stored.body = *done->reply;
    return succeed(std::move(stored));
  }
  Error error = error_from_response(reply, request_.what, secrets_of(request_.http));
  if (may_be_done) return fail(std::move(error).with_context(done->doubt));
  if (reply.status == 429 && request_.limiter != nullptr) {
    const auto delay = error.retry_after().value_or(kDefaultRateLimitPause);
    request_.limiter->extend_by(runtime().clock->now(),
                                std::min(delay, request_.retry.max_retry_after));
  }
  const bool again = decide(reply, error.category(), outcome_unknown_) == RetryDecision::kRetry;
  // A 5xx may come from a proxy behind which the work was done; a 4xx is the server's own refusal.
  if (reply.status >= 500 || reply.status == 408) outcome_unknown_ = true;
  if (again) return retry_or_fail(std::move(error));
  if (take_other_form(error)) return attempt();
  fail(std::move(error));
}

bool RetryLoop::take_other_form(const Error& refusal) {
  const int status = refusal.http_status();
  if ((status != 415 && status != 422) || !request_.other_form || first_refusal_) return false;
  const auto make = [this] { return request_.other_form->make(request_.http); };
  Result<HttpRequest> other = invoke_guarded<HttpRequest>(make);
  if (!other.ok()) return false;
  request_.http = *std::move(other);
  first_refusal_ = refusal;
  return true;
}

std::string RetryLoop::spent(std::chrono::milliseconds elapsed) const {
  const RetryOptions& budget = request_.retry;
  const auto count = [](auto number) { return std::to_string(number); };
  const std::string allowed = request_.most_attempts_unasked < budget.max_attempts
                                  ? count(request_.most_attempts_unasked) +
                                        " without a Retry-After, " + count(budget.max_attempts) +
                                        " in all"
                                  : count(budget.max_attempts) + " attempts";
  return "gave up after " + count(attempts_) + (attempts_ == 1 ? " attempt" : " attempts") +
         " in " + count(elapsed.count()) + " ms (allowed: " + allowed + ", " +
         count(budget.max_elapsed.count()) + " ms)";
}

void RetryLoop::retry_or_fail(Error error) {
  const RetryOptions& budget = request_.retry;
  if (!error.retry_after()) ++unasked_;
  const bool tried_enough =
      attempts_ >= budget.max_attempts || unasked_ >= request_.most_attempts_unasked;
  if (budget.max_attempts <= 1) return fail(std::move(error).with_retryable(true));

  auto delay =
      backoff_delay(attempts_ - 1, budget.initial_backoff, budget.max_backoff, *runtime().random);
  if (error.retry_after()) {
    delay = std::min(std::max(delay, *error.retry_after()), budget.max_retry_after);
  }
  const auto now = runtime().clock->now();
  const auto elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(now - first_attempt_);
  if (tried_enough || elapsed + delay > budget.max_elapsed) {
    return fail(std::move(error).with_context(spent(elapsed)).with_retryable(true));
  }
  note(request_.last_word, this, error.message());
  pause_until(now + delay, [self = self()] { self->attempt(); });
}

void RetryLoop::fail(Error error) {
  const bool refused = is_refusal(error.http_status());
  if (first_refusal_ && tells_less(error.http_status(), first_refusal_->http_status())) {
    error = *std::move(first_refusal_);
  }
  const bool not_accepted =
      !outcome_unknown_.load() && (attempts_ == 0 || refused || error.not_accepted());
  finish(std::move(error).with_not_accepted(not_accepted));
}

void RetryLoop::finish(Result<HttpResponse> result) {
  take_back(request_.last_word, this);
  const Done done = std::move(done_);
  done(std::move(result));
}

}  // namespace tinkex::internal
