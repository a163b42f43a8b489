#include "tinkex/mocks/scripted_server.h"

#include "tinkex/mocks/scripted_connection.h"  // First: it orders Asio's includes.

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <deque>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <thread>

namespace tinkex::mocks {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

struct Route {
  std::string method;
  std::string prefix;
  std::deque<Reply> script;
  ScriptedServer::Handler handler;
};

Reply complaint(int status, const std::string& detail) {
  return Reply::json(nlohmann::json{{"detail", detail}}.dump(), status);
}

bool takes(const Route& route, const LoggedRequest& request) {
  return (route.method.empty() || route.method == request.method) &&
         request.target.compare(0, route.prefix.size(), route.prefix) == 0;
}

}  // namespace

class ScriptedServer::Impl final : public ScriptedConnection::Host,
                                   public std::enable_shared_from_this<Impl> {
 public:
  Impl()
      : acceptor_(context_, tcp::endpoint(asio::ip::address_v4::loopback(), 0)),
        work_(asio::make_work_guard(context_)),
        port_(acceptor_.local_endpoint().port()) {}

  void start() {
    accept();
    thread_ = std::thread([this] { context_.run(); });
  }
  void stop();

  Reply answer(const LoggedRequest& request) noexcept override;
  void forget(const std::shared_ptr<ScriptedConnection>& connection) noexcept override {
    connections_.erase(connection);
  }

  void script(std::string method, std::string prefix, std::vector<Reply> replies);
  void handle(std::string method, std::string prefix, Handler handler);
  std::uint16_t port() const noexcept { return port_; }
  int accepted() const noexcept { return accepted_.load(); }

 private:
  void accept();
  Route& route_locked(std::string method, std::string prefix) TINKEX_REQUIRES(mutex_);
  /// A scripted reply, or the handler to ask.
  std::optional<Reply> next_locked(const LoggedRequest& request, Handler& handler)
      TINKEX_REQUIRES(mutex_);

  asio::io_context context_{1};
  tcp::acceptor acceptor_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  const std::uint16_t port_;
  std::thread thread_;
  std::atomic<int> accepted_{0};
  /// Server thread only.
  std::set<std::shared_ptr<ScriptedConnection>> connections_;

  internal::Mutex mutex_;
  std::vector<Route> routes_ TINKEX_GUARDED_BY(mutex_);
};

void ScriptedServer::Impl::accept() {
  acceptor_.async_accept([this](error_code error, tcp::socket socket) {
    if (error) return;  // Closed, or out of file descriptors: the test sees refused connections.
    const int number = accepted_.fetch_add(1) + 1;
    const auto connection =
        std::make_shared<ScriptedConnection>(shared_from_this(), std::move(socket), number);
    connections_.insert(connection);
    connection->start();
    accept();
  });
}

void ScriptedServer::Impl::stop() {
  asio::post(context_, [this] {
    error_code ignored;
    acceptor_.close(ignored);
    const auto open = connections_;
    for (const auto& connection : open) connection->close();
    work_.reset();  // run() returns when everything closed has been unwound.
  });
  thread_.join();
}

Route& ScriptedServer::Impl::route_locked(std::string method, std::string prefix) {
  for (Route& route : routes_) {
    if (route.method == method && route.prefix == prefix) return route;
  }
  routes_.push_back({std::move(method), std::move(prefix), {}, nullptr});
  return routes_.back();
}

void ScriptedServer::Impl::script(std::string method, std::string prefix,
                                  std::vector<Reply> replies) {
  internal::MutexLock lock(mutex_);
  Route& route = route_locked(std::move(method), std::move(prefix));
  for (Reply& reply : replies) route.script.push_back(std::move(reply));
}

void ScriptedServer::Impl::handle(std::string method, std::string prefix, Handler handler) {
  internal::MutexLock lock(mutex_);
  route_locked(std::move(method), std::move(prefix)).handler = std::move(handler);
}

std::optional<Reply> ScriptedServer::Impl::next_locked(const LoggedRequest& request,
                                                       Handler& handler) {
  Route* best = nullptr;
  for (Route& route : routes_) {
    if (takes(route, request) && (!best || route.prefix.size() > best->prefix.size())) {
      best = &route;
    }
  }
  const std::string what = request.method + " " + request.target;
  if (!best) return complaint(404, "the test has no route for " + what);
  if (!best->script.empty()) {
    Reply reply = std::move(best->script.front());
    best->script.pop_front();
    return reply;
  }
  if (!best->handler) return complaint(500, "the test's replies for " + what + " are used up");
  handler = best->handler;
  return std::nullopt;
}

Reply ScriptedServer::Impl::answer(const LoggedRequest& request) noexcept {
  try {
    Handler handler;
    {
      internal::MutexLock lock(mutex_);
      if (auto reply = next_locked(request, handler)) return std::move(*reply);
    }
    return handler(request);
  } catch (const std::exception& problem) {
    return complaint(500, std::string("the test's handler threw: ") + problem.what());
  } catch (...) {
    return complaint(500, "the test's handler threw");
  }
}

ScriptedServer::ScriptedServer() : impl_(std::make_shared<Impl>()) { impl_->start(); }
ScriptedServer::~ScriptedServer() { impl_->stop(); }

std::uint16_t ScriptedServer::port() const noexcept { return impl_->port(); }
std::string ScriptedServer::base_url() const {
  return "http://127.0.0.1:" + std::to_string(impl_->port());
}

void ScriptedServer::script(std::string method, std::string path_prefix,
                            std::vector<Reply> replies) {
  impl_->script(std::move(method), std::move(path_prefix), std::move(replies));
}

void ScriptedServer::handle(std::string method, std::string path_prefix, Handler handler) {
  impl_->handle(std::move(method), std::move(path_prefix), std::move(handler));
}

std::vector<LoggedRequest> ScriptedServer::log(std::string_view path_prefix) const {
  return impl_->log.select(path_prefix);
}
std::size_t ScriptedServer::count(std::string_view path_prefix) const {
  return impl_->log.count(path_prefix);
}
bool ScriptedServer::wait_for_requests(std::size_t count, std::chrono::milliseconds timeout,
                                       std::string_view path_prefix) const {
  return impl_->log.wait(count, timeout, path_prefix);
}
std::size_t ScriptedServer::max_in_flight(std::string_view path_prefix) const {
  return mocks::max_in_flight(log(path_prefix));
}
int ScriptedServer::connections_accepted() const { return impl_->accepted(); }

}  // namespace tinkex::mocks
