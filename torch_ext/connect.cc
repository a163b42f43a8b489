#include "torch_ext/connect.h"

#include <utility>

#include "tinkex/config/env.h"
#include "tinkex/limits/rate_limiter_registry.h"
#include "torch_ext/local/embedded_backend.h"
#include "torch_ext/local/in_process_transport.h"
#include "torch_ext/local/router.h"

namespace tinkex::torch_ext {
namespace {

/// Whether anything says that a server is meant.
bool names_a_server(const ClientOptions& options) {
  return !options.base_url.empty() || !options.api_key.empty() || options.transport != nullptr ||
         internal::read_env("TINKER_BASE_URL") || internal::read_env("TINKER_API_KEY");
}

Result<Connection> connect_to_server(ClientOptions options) {
  Result<ServiceClient> service = ServiceClient::connect(std::move(options));
  if (!service) return std::move(service).error();
  std::string description = "the server at " + service->options().base_url;
  return Connection{.service = std::move(*service),
                    .embedded = false,
                    .description = std::move(description),
                    .data_dir = {},
                    .base_models = {},
                    .backend = {}};
}

Result<Connection> connect_to_embedded(ClientOptions client, local::BackendOptions backend) {
  const std::string data_dir = backend.data_dir.string();
  std::vector<std::filesystem::path> base_models = backend.base_models;
  // A key of the right form, so that one in the environment, meant for a server, is not used.
  backend.api_key = "tml-embedded";
  client.api_key = backend.api_key;
  client.base_url = local::kEmbeddedBaseUrl;
  // All embedded backends have one URL and one key: in the registry of the process, a full queue of
  // one would hold up the samples of the others.
  if (client.rate_limiters == nullptr) {
    client.rate_limiters = std::make_shared<RateLimiterRegistry>(client.clock);
  }
  const auto started = local::Backend::create(std::move(backend));
  if (!started) return started.error();
  client.transport = std::make_shared<local::InProcessTransport>(*started);
  Result<ServiceClient> service = ServiceClient::connect(std::move(client));
  if (!service) return std::move(service).error();
  return Connection{.service = std::move(*service),
                    .embedded = true,
                    .description = "the embedded backend in this process",
                    .data_dir = data_dir,
                    .base_models = std::move(base_models),
                    .backend = *started};
}

}  // namespace

Backend choose_backend(const ConnectOptions& options) {
  if (options.where != Backend::kAutomatic) return options.where;
  return names_a_server(options.client) ? Backend::kServer : Backend::kEmbedded;
}

Result<Connection> connect(ConnectOptions options) {
  if (choose_backend(options) == Backend::kEmbedded) {
    return connect_to_embedded(std::move(options.client), std::move(options.embedded));
  }
  return connect_to_server(std::move(options.client));
}

}  // namespace tinkex::torch_ext
