#include "tests/bench/epoll_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace tinkex::bench {
namespace {

constexpr std::size_t kSmallRead = 4 << 10;
constexpr std::size_t kLargeRead = 1 << 20;
constexpr int kBacklog = 4'096;

[[noreturn]] void fail(const char* what) {
  throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

/// Value of a header in a request's head, or an empty view.
std::string_view header(std::string_view head, std::string_view name) {
  for (std::size_t line = head.find("\r\n"); line < head.size(); line = head.find("\r\n", line)) {
    line += 2;
    if (head.size() - line < name.size() + 1 || head[line + name.size()] != ':' ||
        ::strncasecmp(head.data() + line, name.data(), name.size()) != 0) {
      continue;
    }
    const std::size_t begin = head.find_first_not_of(' ', line + name.size() + 1);
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
  return {};
}

}  // namespace

struct EpollServer::Connection {
  int fd = -1;
  std::vector<char> in = std::vector<char>(kSmallRead);
  std::size_t filled = 0;
  std::size_t expected = 0;  // bytes of the request that has begun, once its head is there
  std::size_t head_size = 0;

  std::string head;
  std::shared_ptr<const std::string> body;  // null: nothing is being sent
  std::size_t sent = 0;
  bool writing = false;  // waits for room

  std::multimap<Clock::time_point, Held>::iterator held{};
  bool is_held = false;

  ~Connection() { ::close(fd); }
};

EpollServer::EpollServer(Handler handler) : handler_(std::move(handler)) {
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (epoll_ < 0 || listener_ < 0) fail("socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener_, generic, size) != 0 || ::listen(listener_, kBacklog) != 0 ||
      ::getsockname(listener_, generic, &size) != 0) {
    fail("listen");
  }
  port_ = ntohs(address.sin_port);
  watch(listener_, &listener_, EPOLLIN, EPOLL_CTL_ADD);
}

EpollServer::~EpollServer() {
  ::close(listener_);
  ::close(epoll_);
}

void EpollServer::watch(int fd, void* data, std::uint32_t events, int operation) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = data;
  if (::epoll_ctl(epoll_, operation, fd, &event) != 0) fail("epoll_ctl");
}

void EpollServer::serve(int end_fd) {
  watch(end_fd, &epoll_, EPOLLIN, EPOLL_CTL_ADD);
  std::array<epoll_event, 512> events{};
  for (;;) {
    const int ready = ::epoll_wait(epoll_, events.data(), events.size(), wait_ms());
    if (ready < 0 && errno != EINTR) fail("epoll_wait");
    for (int i = 0; i < ready; ++i) {
      void* const data = events[static_cast<std::size_t>(i)].data.ptr;
      if (data == &epoll_) return;
      if (data == &listener_) {
        accept_all();
      } else {
        on_event(*static_cast<Connection*>(data), events[static_cast<std::size_t>(i)].events);
      }
    }
    release_due();
  }
}

void EpollServer::accept_all() {
  for (;;) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    auto connection = std::make_unique<Connection>();
    connection->fd = fd;
    watch(fd, connection.get(), EPOLLIN, EPOLL_CTL_ADD);
    connections_.emplace(connection.get(), std::move(connection));
    most_connections_ = std::max(most_connections_, connections_.size());
  }
}

void EpollServer::on_event(Connection& connection, std::uint32_t events) {
  if ((events & EPOLLOUT) != 0) write(connection);
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !read(connection)) close(connection);
}

bool EpollServer::read(Connection& connection) {
  for (;;) {
    const std::size_t step = connection.expected > kSmallRead ? kLargeRead : kSmallRead;
    if (connection.in.size() < connection.filled + step) {
      connection.in.resize(std::max(connection.expected + kSmallRead, connection.filled + step));
    }
    const std::size_t room = connection.in.size() - connection.filled;
    const ssize_t got = ::recv(connection.fd, connection.in.data() + connection.filled, room, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (got <= 0) return false;
    connection.filled += static_cast<std::size_t>(got);
    if (!serve_read(connection)) return false;
    if (static_cast<std::size_t>(got) < room) return true;
  }
}

bool EpollServer::serve_read(Connection& connection) {
  const std::string_view text(connection.in.data(), connection.filled);
  if (connection.expected == 0) {
    const std::size_t end = text.find("\r\n\r\n");
    if (end == text.npos) return true;
    const std::string_view length = header(text.substr(0, end + 2), "content-length");
    std::size_t body = 0;
    std::from_chars(length.data(), length.data() + length.size(), body);
    connection.head_size = end + 4;
    connection.expected = connection.head_size + body;
  }
  if (connection.filled < connection.expected) return true;
  const std::size_t target = text.find(' ') + 1;
  const EpollRequest request{
      .target = text.substr(target, text.find(' ', target) - target),
      .body = text.substr(connection.head_size, connection.expected - connection.head_size)};
  Answer answer = handler_(request);
  connection.filled = connection.expected = 0;  // no client of ours sends a second one before
  if (!answer.late) {
    reply(connection, std::move(answer.reply));
  } else {
    connection.held = held_.emplace(answer.when, Held{&connection, std::move(answer.late)});
    connection.is_held = true;
  }
  return true;
}

void EpollServer::reply(Connection& connection, EpollReply reply) {
  std::array<char, 128> head{};
  const int size = std::snprintf(
      head.data(), head.size(), "HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %zu\r\n\r\n",
      reply.status, reply.status == 200 ? "OK" : "Other", reply.content_type, reply.body->size());
  connection.head.assign(head.data(), static_cast<std::size_t>(size));
  connection.body = std::move(reply.body);
  connection.sent = 0;
  write(connection);
}

void EpollServer::write(Connection& connection) {
  if (!connection.body) return;
  const std::size_t head = connection.head.size(), all = head + connection.body->size();
  while (connection.sent < all) {
    const std::size_t in_head = std::min(connection.sent, head);
    const std::size_t in_body = connection.sent - in_head;
    const std::array<iovec, 2> parts{
        iovec{connection.head.data() + in_head, head - in_head},
        iovec{const_cast<char*>(connection.body->data()) + in_body,  // NOLINT(*-const-cast)
              connection.body->size() - in_body}};
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts.data());  // NOLINT(*-const-cast): of POSIX
    message.msg_iovlen = parts.size();
    const ssize_t put = ::sendmsg(connection.fd, &message, MSG_NOSIGNAL);
    if (put < 0 && errno == EAGAIN) return watch_writing(connection, true);
    if (put < 0) break;  // the peer has gone; reading will say so
    connection.sent += static_cast<std::size_t>(put);
  }
  connection.body = nullptr;
  watch_writing(connection, false);
}

void EpollServer::watch_writing(Connection& connection, bool on) {
  if (std::exchange(connection.writing, on) == on) return;
  watch(connection.fd, &connection, on ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
}

void EpollServer::close(Connection& connection) {
  if (connection.is_held) held_.erase(connection.held);
  connections_.erase(&connection);
}

void EpollServer::release_due() {
  while (!held_.empty() && held_.begin()->first <= Clock::now()) {
    const Held held = std::move(held_.begin()->second);
    held_.erase(held_.begin());
    held.connection->is_held = false;
    reply(*held.connection, held.late());
  }
}

int EpollServer::wait_ms() const {
  if (held_.empty()) return -1;
  const auto wait = held_.begin()->first - Clock::now();
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
  return static_cast<int>(std::clamp<std::int64_t>(ms, 0, 60'000));
}

}  // namespace tinkex::bench
