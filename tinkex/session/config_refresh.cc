#include "tinkex/session/config_refresh.h"

#include <optional>

namespace tinkex::internal {

void ConfigRefresh::start() { wait(runtime().clock->now(), std::chrono::milliseconds(0)); }

void ConfigRefresh::wait(Clock::time_point from, std::chrono::milliseconds interval) {
  auto self = std::static_pointer_cast<ConfigRefresh>(shared_from_this());
  pause_until(deadline_after(from, interval), [self] { self->ask(); });
}

void ConfigRefresh::ask() {
  if (stopped()) return;
  const Clock::time_point begun = runtime().clock->now();
  auto self = std::static_pointer_cast<ConfigRefresh>(shared_from_this());
  exchange(request_, [self, begun](Result<HttpResponse> reply) {
    if (self->stopped()) return;
    std::optional<api::DynamicConfig> config;
    if (reply.ok() && reply->status == 200) config = api::parse_dynamic_config(reply->body);
    if (config) self->apply_(*config);
    self->wait(begun, config.value_or(api::DynamicConfig()).refresh_interval);
  });
}

}  // namespace tinkex::internal
