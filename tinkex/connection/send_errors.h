#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/training/accepted.h"

namespace tinkex::internal {

/// Of a training call that its caller has cancelled.
Error cancelled_by_caller();

/// `error`, which ended the sending of a batch of `total` chunks, with what the server had accepted
/// before.
Error partial_send_error(Error error, const std::vector<Accepted>& accepted, std::size_t total);

/// `error` of a call whose time is up, with what it had achieved: the ids of its accepted chunks.
Error progress_error(Error error, std::vector<std::string> accepted, std::size_t total);

}  // namespace tinkex::internal
