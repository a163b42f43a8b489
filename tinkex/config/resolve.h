#pragma once

#include "tinkex/error.h"
#include "tinkex/options.h"

namespace tinkex {

/// Fills empty fields of `options` from the environment and from the defaults, and checks them:
/// the explicit value wins over the environment, the environment over the default. An empty
/// environment variable counts as unset. Errors never contain the API key.
Result<ClientOptions> resolve_options(ClientOptions options);

}  // namespace tinkex
