#include "torch_ext/local/router.h"

#include <utility>

#include "torch_ext/local/request_target.h"
#include "torch_ext/local/service.h"

namespace tinkex::torch_ext::local {
namespace {

/// Whether a client may know that the server is alive without a key.
bool is_open(const RequestTarget& target) {
  return target.segments.size() == 1 && target.segments.front() == "healthz";
}

std::optional<Reply> refuse_caller(const BackendRequest& request, const Secret& key) {
  if (!request.header("origin").empty()) {
    return error_reply(403, "requests from web pages are refused");
  }
  if (key.empty()) return std::nullopt;
  const std::string_view given = request.header("x-api-key");
  if (given.empty()) return error_reply(401, "this server asks for an API key in X-API-Key");
  if (!(key == Secret(given))) return error_reply(403, "the API key is wrong");
  return std::nullopt;
}

std::vector<Route> all_routes() {
  std::vector<Route> routes;
  for (auto part : {service_routes, training_routes, checkpoint_routes, sampling_routes,
                    future_routes, run_routes}) {
    for (Route& route : part()) routes.push_back(std::move(route));
  }
  return routes;
}

/// Calls a responder exactly once: with the first reply, or, if whoever should have replied is
/// dropped at shutdown, when the last copy goes.
class ReplyOnce {
 public:
  explicit ReplyOnce(Responder respond) : respond_(std::move(respond)) {}
  ~ReplyOnce() {
    if (called_) return;
    respond_with(respond_, [] { return error_reply(503, "the server is shutting down"); });
  }

  void reply(Reply reply) {
    if (!called_.exchange(true)) respond_(std::move(reply));
  }

 private:
  const Responder respond_;
  std::atomic<bool> called_{false};
};

}  // namespace

Result<std::shared_ptr<Backend>> Backend::create(BackendOptions options) {
  auto service = Service::create(std::move(options));
  if (!service) return service.error();
  return std::shared_ptr<Backend>(new Backend(*std::move(service)));
}

Backend::Backend(std::shared_ptr<Service> service)
    : service_(std::move(service)), routes_(all_routes()) {}

Backend::~Backend() { shutdown(); }

void Backend::shutdown() noexcept {
  stopped_.store(true);
  service_->shutdown();
}

void Backend::handle(const BackendRequest& request, Responder respond) noexcept {
  const auto once = std::make_shared<ReplyOnce>(std::move(respond));
  const Responder reply = [once](Reply reply) { once->reply(std::move(reply)); };
  try {
    dispatch(request, reply);
  } catch (...) {
    respond_failed(reply);
  }
}

void Backend::dispatch(const BackendRequest& request, const Responder& respond) {
  const auto target = parse_target(request.target);
  if (!target) return respond(error_reply(404, "there is nothing here; paths are /api/v1/..."));
  if (!is_open(*target)) {
    if (auto refused = refuse_caller(request, service_->options().api_key)) {
      return respond(*std::move(refused));
    }
  }
  if (stopped_.load()) return respond(error_reply(503, "the server is shutting down"));
  bool path_known = false;
  for (const Route& route : routes_) {
    Call call{{},
              target->query,
              request.header("content-type"),
              request.header("content-encoding"),
              request.header("accept"),
              request.body};
    if (!matches(route.path, target->segments, call.parameters)) continue;
    path_known = true;
    if (route.method == request.method) return route.handler(*service_, call, respond);
  }
  if (path_known) return respond(error_reply(405, "this path does not take this method"));
  respond(error_reply(404, "there is no such endpoint"));
}

}  // namespace tinkex::torch_ext::local
