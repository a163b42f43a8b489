#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "tinkex/limits/rate_limiter.h"
#include "tinkex/limits/slot_table.h"

namespace tinkex::internal {

struct ServiceContext;

/// What sample() needs, published once and then only read. `counter` alone changes.
struct SamplingEntry {
  const std::string session_id;
  const std::shared_ptr<const ServiceContext> service;  ///< Configuration, transport, timers.
  const std::shared_ptr<RateLimiter> limiter;
  mutable std::atomic<std::uint64_t> counter{0};

  SamplingEntry(std::string id, std::shared_ptr<const ServiceContext> context,
                std::shared_ptr<RateLimiter> shared_limiter)
      : session_id(std::move(id)),
        service(std::move(context)),
        limiter(std::move(shared_limiter)) {}
};

/// Every sampling client of a service, by handle; reading it takes no lock.
using SamplingRegistry = SlotTable<SamplingEntry>;

}  // namespace tinkex::internal
