#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "tinkex/limits/rate_limiter.h"
#include "tinkex/limits/slot_table.h"

namespace tinkex::internal {

struct ServiceContext;
class SessionPoll;

/// What sample() needs, published once and then only read. `counter` alone changes.
struct SamplingEntry {
  const std::string session_id;
  const std::shared_ptr<const ServiceContext> service;  ///< Configuration, transport, timers.
  const std::shared_ptr<RateLimiter> limiter;
  /// Asks for all results of the session at once; null where the server does not offer it.
  const std::shared_ptr<SessionPoll> futures;
  mutable std::atomic<std::uint64_t> counter{0};

  SamplingEntry(std::string id, std::shared_ptr<const ServiceContext> context,
                std::shared_ptr<RateLimiter> shared_limiter,
                std::shared_ptr<SessionPoll> session_poll = nullptr)
      : session_id(std::move(id)),
        service(std::move(context)),
        limiter(std::move(shared_limiter)),
        futures(std::move(session_poll)) {}
};

/// Every sampling client of a service, by handle; reading it takes no lock.
using SamplingRegistry = SlotTable<SamplingEntry>;

}  // namespace tinkex::internal
