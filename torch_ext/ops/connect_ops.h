#pragma once

// Connecting, for callers that cannot wait inside one call: Python sees Ctrl-C only between calls.

#include <string>

#include "tinkex/future.h"
#include "torch_ext/connect.h"
#include "torch_ext/ops/client_classes.h"
#include "torch_ext/ops/results.h"
#include "torch_ext/torch_prelude.h"

namespace tinkex::torch_ext {

/// The same service each time.
template <>
struct Script<ServicePtr> {
  using type = ServicePtr;
  static type from(const ServicePtr& service) { return service; }
};

/// What the arguments of `connect` ask for.
ConnectOptions to_connect_options(const std::string& base_url, const std::string& api_key,
                                  const std::string& data_dir,
                                  const Optional<c10::List<std::string>>& base_models);

/// As connect_service, on a thread of its own: it may take minutes to give a server up. Giving the
/// result up lets the thread finish, and drops what it gets. Throws if there is no thread to be
/// had.
Future<ServicePtr> start_connect(const std::string& base_url, const std::string& api_key,
                                 const std::string& data_dir,
                                 const Optional<c10::List<std::string>>& base_models);

/// The embedded backend, whatever the environment says.
ServicePtr connect_embedded(const std::string& data_dir,
                            const Optional<c10::List<std::string>>& base_models);

/// Called by library.cc.
void register_connect_kernels(torch::Library& library);

}  // namespace tinkex::torch_ext
