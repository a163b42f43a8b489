#include "tinkex/session/heartbeat.h"

namespace tinkex::internal {

void Heartbeat::start() { wait(runtime_->clock->now()); }

void Heartbeat::wait(Clock::time_point from) {
  timer_.store(runtime_->timers->schedule(deadline_after(from, interval_),
                                          [self = shared_from_this()] { self->beat(); }));
}

void Heartbeat::beat() {
  if (stopped()) return;
  const Clock::time_point begun = runtime_->clock->now();
  auto on_reply = [self = shared_from_this(), begun](Result<HttpResponse> reply) {
    if (self->stopped()) return;
    // 410 says that the session has ended. A 404 may come from a proxy whose server is away.
    if (reply.ok() ? reply->status == 410 : reply.error().code() == ErrorCode::kClosed) return;
    self->wait(begun);
  };
  exchange_.store(runtime_->transport->send(request_, std::move(on_reply)));
}

void Heartbeat::cancel() noexcept {
  cancelled_.store(true);
  runtime_->timers->cancel(timer_.load());
  runtime_->transport->cancel(exchange_.load());
}

}  // namespace tinkex::internal
