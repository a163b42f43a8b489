#include "tinkex/http/loopback_server.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <thread>
#include <unordered_map>
#include <vector>

#include "tinkex/base/mutex.h"
#include "tinkex/http/http_session.h"

namespace tinkex::http {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

std::string address(const std::string& host, std::uint16_t port) {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Error cannot_listen(const ServerOptions& options, const error_code& cause) {
  std::string remedy = "check the host and that this user may listen on the port";
  if (cause == asio::error::address_in_use) {
    remedy = "another program uses the port; stop it or choose another port (0 picks a free one)";
  }
  return Error(ErrorCode::kIo, "could not listen on " + address(options.host, options.port) + ": " +
                                   cause.message() + "; " + remedy);
}

}  // namespace

/// Shared with the sessions and the server threads, so that whichever ends last frees it.
class LoopbackServer::Impl final : public HttpSession::Host,
                                   public std::enable_shared_from_this<Impl> {
 public:
  Impl(ServerOptions server_options, Handler server_handler)
      : acceptor_(asio::make_strand(context_)),
        retry_(acceptor_.get_executor()),
        work_(asio::make_work_guard(context_)) {
    options = std::move(server_options);
    handler = std::move(server_handler);
  }

  error_code listen();
  void start_threads();
  void stop() noexcept;
  void forget(const HttpSession* session) noexcept override;

  std::uint16_t port() const noexcept { return port_; }
  std::string base_url() const;

 private:
  void serve() noexcept;
  void accept();
  void on_accept(error_code error, tcp::socket socket);
  void adopt(tcp::socket socket);
  void close_everything();
  void join_threads() noexcept;

  asio::io_context context_;
  tcp::acceptor acceptor_;
  asio::steady_timer retry_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::uint16_t port_ = 0;
  bool wildcard_ = false;

  internal::Mutex mutex_;
  std::vector<std::thread> threads_ TINKEX_GUARDED_BY(mutex_);
  /// Owns the connections; a session that waits for its answer has no other owner.
  std::unordered_map<const HttpSession*, std::shared_ptr<HttpSession>> sessions_
      TINKEX_GUARDED_BY(mutex_);
};

error_code LoopbackServer::Impl::listen() {
  error_code error;
  tcp::resolver resolver(context_);
  const auto found =
      resolver.resolve(options.host, std::to_string(options.port),
                       tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error) return error;
  const tcp::endpoint endpoint = *found.begin();
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error) return error;
  port_ = acceptor_.local_endpoint(error).port();
  wildcard_ = endpoint.address().is_unspecified();
  return error;
}

void LoopbackServer::Impl::start_threads() {
  accept();
  internal::MutexLock lock(mutex_);
  for (int i = 0; i < options.threads; ++i) {
    threads_.emplace_back([self = shared_from_this()] { self->serve(); });
  }
}

void LoopbackServer::Impl::serve() noexcept {
  for (;;) {
    try {
      context_.run();
      return;
    } catch (...) {
      // Out of memory in one connection's step; that connection ends and the others go on.
    }
  }
}

std::string LoopbackServer::Impl::base_url() const {
  const bool v6 = options.host.find(':') != std::string::npos;
  const std::string host = wildcard_ ? (v6 ? "::1" : "127.0.0.1") : options.host;
  return "http://" + address(host, port_);
}

void LoopbackServer::Impl::accept() {
  acceptor_.async_accept(asio::make_strand(context_),
                         [self = shared_from_this()](error_code error, tcp::socket socket) {
                           self->on_accept(error, std::move(socket));
                         });
}

void LoopbackServer::Impl::on_accept(error_code error, tcp::socket socket) {
  if (stopped.load(std::memory_order_acquire) || error == asio::error::operation_aborted) return;
  if (!error) {
    adopt(std::move(socket));
    return accept();
  }
  // Most likely out of file descriptors: wait until some connection has ended.
  retry_.expires_after(std::chrono::milliseconds(50));
  retry_.async_wait([self = shared_from_this()](error_code cancelled) {
    if (!cancelled) self->accept();
  });
}

void LoopbackServer::Impl::adopt(tcp::socket socket) {
  const auto session = std::make_shared<HttpSession>(shared_from_this(), std::move(socket));
  {
    internal::MutexLock lock(mutex_);
    if (stopped.load(std::memory_order_acquire)) return;
    sessions_.emplace(session.get(), session);
  }
  session->run();
}

void LoopbackServer::Impl::forget(const HttpSession* session) noexcept {
  std::shared_ptr<HttpSession> last;  // Outlives the lock: a session's end may call out.
  internal::MutexLock lock(mutex_);
  const auto found = sessions_.find(session);
  if (found == sessions_.end()) return;
  last = std::move(found->second);
  sessions_.erase(found);
}

void LoopbackServer::Impl::close_everything() {
  internal::MutexLock lock(mutex_);
  if (stopped.exchange(true, std::memory_order_acq_rel)) return;
  asio::post(acceptor_.get_executor(), [self = shared_from_this()] {
    error_code ignored;
    self->acceptor_.close(ignored);
    self->retry_.cancel();
  });
  for (const auto& entry : sessions_) entry.second->post_close();
  work_.reset();  // The threads end when everything closed has been unwound.
}

void LoopbackServer::Impl::join_threads() noexcept {
  std::vector<std::thread> threads;
  {
    internal::MutexLock lock(mutex_);
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) {
    thread.get_id() == std::this_thread::get_id() ? thread.detach() : thread.join();
  }
}

void LoopbackServer::Impl::stop() noexcept {
  close_everything();
  join_threads();
}

Result<std::unique_ptr<LoopbackServer>> LoopbackServer::start(ServerOptions options,
                                                              Handler handler) {
  if (!handler) return invalid_argument("LoopbackServer: the handler is empty");
  if (options.threads < 1) {
    return invalid_argument("LoopbackServer: threads is " + std::to_string(options.threads) +
                            ", expected at least 1");
  }
  try {
    auto impl = std::make_shared<Impl>(std::move(options), std::move(handler));
    if (const error_code error = impl->listen()) return cannot_listen(impl->options, error);
    std::unique_ptr<LoopbackServer> server(new LoopbackServer(impl));
    impl->start_threads();
    return server;
  } catch (const std::exception& problem) {
    return Error(ErrorCode::kIo, std::string("could not start the HTTP server: ") + problem.what());
  }
}

LoopbackServer::LoopbackServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
LoopbackServer::~LoopbackServer() { stop(); }
std::uint16_t LoopbackServer::port() const noexcept { return impl_->port(); }
std::string LoopbackServer::base_url() const { return impl_->base_url(); }
void LoopbackServer::stop() noexcept { impl_->stop(); }

}  // namespace tinkex::http
