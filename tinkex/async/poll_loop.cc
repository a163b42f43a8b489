#include "tinkex/async/poll_loop.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "tinkex/retry/backoff.h"
#include "tinkex/retry/classify.h"

namespace tinkex::internal {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFailureBackoff{500};
constexpr milliseconds kMaxFailureBackoff{30'000};
constexpr milliseconds kMaxRetryAfter{60'000};
constexpr milliseconds kBillingRecheck{5'000};
// An answer faster than this was not held by the server.
constexpr milliseconds kQuickAnswer{50};
constexpr milliseconds kQuickBackoff{10};
constexpr milliseconds kMaxQuickBackoff{1'000};

std::string milliseconds_text(Clock::duration time) {
  return std::to_string(std::chrono::duration_cast<milliseconds>(time).count()) + " ms";
}

std::shared_ptr<const ByteBuffer> poll_body(const std::string& request_id, bool allow_metadata) {
  const nlohmann::json json{{"request_id", request_id}, {"allow_metadata_only", allow_metadata}};
  auto body = std::make_shared<ByteBuffer>();
  body->append(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  return body;
}

}  // namespace

std::shared_ptr<PollLoop> PollLoop::start(std::shared_ptr<Runtime> runtime,
                                          std::shared_ptr<PollGate> gate, PollTarget target,
                                          Done done) {
  std::shared_ptr<PollLoop> loop(
      new PollLoop(std::move(runtime), std::move(gate), std::move(target), std::move(done)));
  const std::uint64_t bytes = loop->target_.announced_bytes;
  bytes > 0 ? loop->fetch(bytes) : loop->poll();
  return loop;
}

PollLoop::PollLoop(std::shared_ptr<Runtime> runtime, std::shared_ptr<PollGate> gate,
                   PollTarget target, Done done)
    : StepChain(std::move(runtime)),
      gate_(std::move(gate)),
      target_(std::move(target)),
      done_(std::move(done)) {
  target_.http.body = poll_body(target_.request_id, /*allow_metadata=*/true);
}

void PollLoop::poll() {
  if (auto error = stopped()) return finish(*std::move(error));
  gate_->enter([self = self()] { self->send(); });
}

void PollLoop::send() {
  if (auto error = stopped()) {
    gate_->leave();
    return finish(*std::move(error));
  }
  sent_ = runtime().clock->now();
  HttpRequest request = target_.http;
  request.headers.emplace_back("X-Tinker-Request-Iteration", std::to_string(iteration_++));
  exchange(std::move(request), [self = self()](Result<HttpResponse> reply) {
    self->gate_->leave();
    self->on_reply(std::move(reply));
  });
}

void PollLoop::on_reply(Result<HttpResponse> result) {
  if (!result.ok()) return on_no_answer(std::move(result).error());
  silent_since_.reset();
  const auto secrets = secrets_of(target_.http);
  PollReply reply = interpret_poll_reply(
      *result, {.what = target_.what, .request_id = target_.request_id, .secrets = secrets});
  if (result->status == 429 && target_.limiter != nullptr) {
    const milliseconds delay = reply.error->retry_after().value_or(milliseconds(1'000));
    target_.limiter->extend_by(runtime().clock->now(), std::min(delay, kMaxRetryAfter));
  }
  if (reply.kind != PollReply::Kind::kDone) {
    // Of a service that closes, the server says that the session is over.
    if (auto error = stopped()) return finish(*std::move(error));
  }
  if (reply.kind != PollReply::Kind::kAskLater) asked_successfully();
  if (reply.kind != PollReply::Kind::kBillingPause) paused_since_.reset();
  switch (reply.kind) {
    case PollReply::Kind::kDone: return finish(std::move(result));
    case PollReply::Kind::kFailed: return finish(*std::move(reply.error));
    case PollReply::Kind::kPending: return on_pending(reply);
    case PollReply::Kind::kAskLater: return on_failure_to_ask(*std::move(reply.error));
    case PollReply::Kind::kBillingPause:
      if (time_since(paused_since_) > target_.max_billing_pause) {
        return finish(*std::move(reply.error));
      }
      note(target_.last_word, this, reply.error->message());
      return again_after(kBillingRecheck);
    case PollReply::Kind::kMetadataOnly: return on_metadata(reply.bytes);
  }
}

void PollLoop::on_no_answer(Error error) {
  error = std::move(error).with_request_id(target_.request_id);
  if (!error.retryable()) return finish(std::move(error).with_context(target_.what));
  const bool held = error.code() == ErrorCode::kTimeout && !error.not_accepted();
  if (!held) return on_failure_to_ask(std::move(error));
  // The server took the question and holds it for longer than we wait: it is asked again at once.
  asked_successfully();
  paused_since_.reset();
  take_back(target_.last_word, this);
  if (time_since(silent_since_) > target_.max_silence) {
    return finish(std::move(error).with_context(target_.what + ": the server took every poll for " +
                                                milliseconds_text(target_.max_silence) +
                                                " and never answered one"));
  }
  again_after({});
}

void PollLoop::on_metadata(std::uint64_t bytes) {
  if (metadata_seen_) {
    return finish(Error(ErrorCode::kDecode, target_.what + ": the server announced the size of "
                                                           "the result twice instead of sending it")
                      .with_request_id(target_.request_id));
  }
  take_back(target_.last_word, this);
  fetch(bytes);
}

void PollLoop::fetch(std::uint64_t bytes) {
  metadata_seen_ = true;
  target_.http.body = poll_body(target_.request_id, /*allow_metadata=*/false);
  if (!target_.result_bytes || bytes == 0) return again_after({});
  reserved_ = bytes;
  target_.result_bytes->enter([self = self()] { self->poll(); }, reserved_);
}

void PollLoop::asked_successfully() {
  failures_ = 0;
  failing_since_.reset();
}

Clock::duration PollLoop::time_since(std::optional<Clock::time_point>& begin) {
  const Clock::time_point now = runtime().clock->now();
  if (!begin) begin = now;
  return now - *begin;
}

void PollLoop::on_pending(const PollReply& reply) {
  if (reply.reason.empty()) {
    take_back(target_.last_word, this);
  } else {
    note(target_.last_word, this, target_.what, " waits on the server: ", reply.reason);
  }
  // A hint to ask at once is taken for none: it would make a hot loop.
  if (reply.delay && *reply.delay >= kQuickBackoff) {
    quick_answers_ = 0;
    return again_after(std::min(*reply.delay, kMaxRetryAfter));
  }
  if (runtime().clock->now() - sent_ >= kQuickAnswer) {
    quick_answers_ = 0;
    return again_after({});
  }
  again_after(backoff_delay(quick_answers_++, kQuickBackoff, kMaxQuickBackoff, *runtime().random));
}

void PollLoop::on_failure_to_ask(Error error) {
  const Clock::duration failing = time_since(failing_since_);
  milliseconds delay =
      backoff_delay(failures_++, kFailureBackoff, kMaxFailureBackoff, *runtime().random);
  if (error.retry_after()) delay = std::min(std::max(delay, *error.retry_after()), kMaxRetryAfter);
  // In milliseconds: the longest of them are too many nanoseconds.
  if (std::chrono::duration_cast<milliseconds>(failing) + delay > target_.max_failing) {
    return finish(std::move(error)
                      .with_context(target_.what + ": asking for the result failed " +
                                    std::to_string(failures_) + " times in a row over " +
                                    milliseconds_text(failing))
                      .with_request_id(target_.request_id));
  }
  note(target_.last_word, this, "asking for the result failed: ", error.message());
  again_after(delay);
}

void PollLoop::again_after(Clock::duration delay) {
  if (delay <= Clock::duration::zero()) return poll();
  pause_until(runtime().clock->now() + delay, [self = self()] { self->poll(); });
}

void PollLoop::finish(Result<HttpResponse> result) {
  take_back(target_.last_word, this);  // what follows, a function of the caller's perhaps, may last
  // The operation was accepted, even if a question about it never reached the server.
  if (!result.ok()) result = std::move(result).error().with_not_accepted(false);
  const Done done = std::move(done_);
  done(std::move(result));
  if (reserved_ > 0) target_.result_bytes->leave(reserved_);
}

}  // namespace tinkex::internal
