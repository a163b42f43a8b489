#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>

namespace tinkex::http {

/// A port that accepts no connection of itself. The system takes them into a queue and keeps what
/// they send, as far as it has room; if the queue is full, a further connect gets no answer.
class DeafPort {
 public:
  explicit DeafPort(bool queue_is_full) : listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::listen(listener_, queue_is_full ? 0 : 8);
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    if (!queue_is_full) return;
    for (int& filler : fillers_) {
      filler = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
      // Non-blocking: those beyond the queue's length stay half open.
      (void)::connect(filler, reinterpret_cast<sockaddr*>(&address), sizeof address);
    }
  }
  ~DeafPort() {
    for (const int filler : fillers_) {
      if (filler >= 0) ::close(filler);
    }
    ::close(listener_);
  }
  /// The next connection that came, which is the caller's to close.
  int take() const { return ::accept(listener_, nullptr, nullptr); }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

 private:
  const int listener_;
  std::array<int, 4> fillers_{-1, -1, -1, -1};
  std::uint16_t port_ = 0;
};

}  // namespace tinkex::http
