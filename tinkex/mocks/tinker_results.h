#pragma once

#include <string_view>

#include "tinkex/mocks/scripted_reply.h"
#include "tinkex/mocks/tinker_operations.h"

namespace tinkex::mocks {

/// The result that a TinkerScript computes by itself, for a poll with this Accept header.
Reply default_result(const Operation& operation, std::string_view accept);

}  // namespace tinkex::mocks
