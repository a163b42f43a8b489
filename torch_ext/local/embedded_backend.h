#pragma once

#include <memory>

#include "tinkex/transport.h"
#include "torch_ext/local/backend_options.h"

namespace tinkex::torch_ext::local {

/// Base URL for clients of the in-process transport; no socket stands behind it.
inline constexpr char kEmbeddedBaseUrl[] = "http://embedded.local";

/// Starts a backend that trains and samples in this process and returns the transport that reaches
/// it: put it into `ClientOptions::transport`, with `kEmbeddedBaseUrl` as the base URL.
///
/// Threads: the backend computes on one thread of its own; callbacks come from the transport's.
/// Ownership: the backend lives until the transport is shut down or the last reference to it goes,
/// which cuts the running batch or sample short: it waits for one micro-batch, one token or one
/// layer or head of a prompt at most, and for a step, a save or a load that has begun. Errors:
/// kInvalidArgument if a loss of `options.losses` cannot be called so; kIo if the data directory
/// cannot be used or another backend uses it.
Result<std::shared_ptr<Transport>> start_embedded_backend(BackendOptions options = {});

}  // namespace tinkex::torch_ext::local
