#include "torch_ext/local/local_server.h"

#include <atomic>
#include <utility>

#include "tinkex/base/host.h"
#include "tinkex/base/text.h"
#include "tinkex/http/loopback_server.h"
#include "torch_ext/local/api.h"
#include "torch_ext/local/router.h"

namespace tinkex::torch_ext::local {
namespace {

/// Bodies are decoded on these threads, so that one large one does not hold up the polls.
constexpr int kHttpThreads = 2;

/// Other names may lead elsewhere.
bool is_loopback(const std::string& host) {
  return host == "localhost" || internal::is_loopback_address(host);
}

http::ServerResponse response_from(Reply reply) {
  http::ServerResponse response;
  response.status = reply.status;
  response.headers = std::move(reply.headers);
  response.headers.emplace_back("content-type", std::move(reply.content_type));
  response.body = std::move(reply.body);
  return response;
}

std::string_view header_of(const http::ServerRequest& request, std::string_view name) {
  for (const auto& [key, value] : request.headers) {
    if (key == name) return value;
  }
  return {};
}

/// Filled when the models are loaded.
using BackendSlot = std::atomic<std::shared_ptr<Backend>>;

http::Handler handler_for(std::shared_ptr<BackendSlot> slot) {
  return [slot = std::move(slot)](const http::ServerRequest& request, http::Respond respond) {
    const std::shared_ptr<Backend> backend = slot->load();
    if (backend == nullptr) {
      return respond(response_from(busy("the server is still loading its models", 503)));
    }
    backend->handle(
        {request.method, request.target,
         [&request](std::string_view name) { return header_of(request, name); }, request.body},
        [respond = std::move(respond)](Reply reply) { respond(response_from(std::move(reply))); });
  };
}

}  // namespace

class LocalServer::Impl {
 public:
  Impl(std::shared_ptr<Backend> backend, std::unique_ptr<http::LoopbackServer> server)
      : backend_(std::move(backend)), server_(std::move(server)), base_url_(server_->base_url()) {}

  const std::string& base_url() const { return base_url_; }

  void stop() noexcept {
    backend_->shutdown();  // First: it still answers the polls, through the open connections.
    server_->stop();
  }

 private:
  const std::shared_ptr<Backend> backend_;
  const std::unique_ptr<http::LoopbackServer> server_;
  const std::string base_url_;
};

Result<std::unique_ptr<LocalServer>> LocalServer::start(LocalServerOptions options) {
  if (!is_loopback(options.host) && options.backend.api_key.empty()) {
    return invalid_argument("host " + options.host +
                            " can be reached from other machines; that needs an API key");
  }
  if (!is_loopback(options.host) &&
      !internal::looks_like_api_key(options.backend.api_key.reveal())) {
    return invalid_argument(
        "the API key does not begin with \"tml-\" (or \"eyJ\"): from other "
        "machines, which can reach host " +
        options.host + ", clients send no other key");
  }
  // The port first: that it is in use is said at once, and not after the models are loaded.
  const auto slot = std::make_shared<BackendSlot>();
  auto server = http::LoopbackServer::start({.host = options.host,
                                             .port = options.port,
                                             .max_body_bytes = options.max_body_bytes,
                                             .threads = kHttpThreads},
                                            handler_for(slot));
  if (!server) return server.error();
  auto backend = Backend::create(std::move(options.backend));
  if (!backend) return backend.error();
  slot->store(*backend);
  return std::unique_ptr<LocalServer>(
      new LocalServer(std::make_unique<Impl>(*std::move(backend), *std::move(server))));
}

LocalServer::LocalServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

LocalServer::~LocalServer() { stop(); }

const std::string& LocalServer::base_url() const noexcept { return impl_->base_url(); }

void LocalServer::stop() noexcept { impl_->stop(); }

}  // namespace tinkex::torch_ext::local
