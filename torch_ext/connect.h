#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/options.h"
#include "tinkex/service_client.h"
#include "torch_ext/local/backend_options.h"

namespace tinkex::torch_ext {
namespace local {
class Backend;
}  // namespace local

/// Which backend `connect` uses.
enum class Backend {
  /// With neither a base URL nor an API key, given or in the environment (TINKER_BASE_URL,
  /// TINKER_API_KEY): the embedded one. Otherwise a server; with a key alone the hosted one. So a
  /// program that is told about a server never trains locally.
  kAutomatic,
  kServer,
  kEmbedded,
};

struct ConnectOptions {
  /// For the embedded backend `base_url`, `api_key`, `transport` and `embedded.api_key` are
  /// replaced, and `rate_limiters` is filled in if it is null: each has its own.
  ClientOptions client;
  /// Used only if the embedded backend is started.
  local::BackendOptions embedded;
  Backend where = Backend::kAutomatic;
};

/// What kAutomatic comes to: kServer or kEmbedded. Reads the environment.
Backend choose_backend(const ConnectOptions& options);

/// A service, and where it is.
struct Connection {
  ServiceClient service;
  /// Whether the service trains in this process.
  bool embedded = false;
  /// One line for people, such as "the embedded backend in this process".
  std::string description;
  /// The embedded backend's folder as it was given; empty for a temporary one or for a server.
  std::string data_dir;
  /// The embedded backend's models from files, as they were given.
  std::vector<std::filesystem::path> base_models;
  /// The embedded backend, for the functions of torch_ext/adapter.h. Does not keep it.
  std::weak_ptr<local::Backend> backend;
};

/// Connects to a server, or starts an embedded backend in this process and connects to it. Each
/// call starts a backend of its own; it ends with its service. Blocks as ServiceClient::connect.
///
/// Errors: as ServiceClient::connect, and as start_embedded_backend.
Result<Connection> connect(ConnectOptions options = {});

}  // namespace tinkex::torch_ext
