#include "tinkex/session/periodic.h"

namespace tinkex::internal {

void Periodic::start(std::chrono::milliseconds first) { wait(runtime().clock->now(), first); }

void Periodic::wait(Clock::time_point from, std::chrono::milliseconds interval) {
  auto self = std::static_pointer_cast<Periodic>(shared_from_this());
  pause_until(deadline_after(from, interval), [self] { self->send(); });
}

void Periodic::send() {
  if (stopped()) return;
  const Clock::time_point begun = runtime().clock->now();
  auto self = std::static_pointer_cast<Periodic>(shared_from_this());
  exchange(request_, [self, begun](Result<HttpResponse> reply) {
    if (self->stopped()) return;
    if (const auto next = self->on_reply_(reply)) self->wait(begun, *next);
  });
}

}  // namespace tinkex::internal
