#pragma once

#include <memory>
#include <string>

#include "tinkex/connection/service_context.h"

namespace tinkex::internal {

/// Tells the server that nobody waits for this future any more, where the server's dynamic
/// configuration allows it (cancel_future; the API's protocol since SDK 0.38). Told up to three
/// times within 30 s where it fails; what comes of it is not looked at. Thread-safe, does not
/// block.
void tell_cancelled(const std::shared_ptr<const ServiceContext>& service,
                    const std::string& request_id);

}  // namespace tinkex::internal
