#include "tinkex/session/heartbeat.h"

namespace tinkex::internal {

void Heartbeat::start() { wait(runtime().clock->now()); }

void Heartbeat::wait(Clock::time_point from) {
  auto self = std::static_pointer_cast<Heartbeat>(shared_from_this());
  pause_until(deadline_after(from, interval_), [self] { self->beat(); });
}

void Heartbeat::beat() {
  if (stopped()) return;
  const Clock::time_point begun = runtime().clock->now();
  auto self = std::static_pointer_cast<Heartbeat>(shared_from_this());
  exchange(request_, [self, begun](Result<HttpResponse> reply) {
    if (self->stopped()) return;
    if (reply.ok() && (reply->status == 410 || reply->status == 404)) return;
    self->wait(begun);
  });
}

}  // namespace tinkex::internal
