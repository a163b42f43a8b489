#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace tinkex::internal {

/// Decides when a transfer may start, so that a burst is carried by few connections and yet polls
/// that a server holds stand in nobody's way. A transfer is young for its first moments. Only so
/// many may be young at a time: while replies come quickly, the connections that they free carry
/// what waits. One that is held grows old, and then counts against the limit of connections alone.
///
/// It reads real time whatever clock is injected, for it is about sockets. Not thread-safe.
class StartWindow {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  static constexpr std::size_t kMaxYoung = 64;
  static constexpr std::chrono::milliseconds kYoung{5};

  explicit StartWindow(std::size_t max_in_flight) : max_in_flight_(max_in_flight) {}

  bool is_open(TimePoint now) {
    forget_old(now);
    return in_flight_ < max_in_flight_ && young_ < kMaxYoung;
  }

  /// Counts one that starts, and gives the ticket for its end.
  std::uint64_t start(TimePoint now) {
    ++in_flight_;
    ++young_;
    starts_.push_back({now, false});
    return first_ + starts_.size() - 1;
  }

  void end(std::uint64_t ticket) {
    --in_flight_;
    if (ticket < first_) return;
    starts_[ticket - first_].ended = true;
    --young_;
  }

  /// When it opens by itself; no time if only an end can open it.
  std::optional<TimePoint> opens_at() const {
    if (in_flight_ >= max_in_flight_ || starts_.empty()) return std::nullopt;
    return starts_.front().when + kYoung;
  }

 private:
  struct Start {
    TimePoint when;
    bool ended;
  };

  void forget_old(TimePoint now) {
    while (!starts_.empty() && (starts_.front().ended || starts_.front().when + kYoung <= now)) {
      if (!starts_.front().ended) --young_;
      starts_.pop_front();
      ++first_;
    }
  }

  const std::size_t max_in_flight_;
  std::size_t in_flight_ = 0;
  std::size_t young_ = 0;
  std::deque<Start> starts_;  // from the oldest that is young, in their order
  std::uint64_t first_ = 0;   // the ticket of its front
};

}  // namespace tinkex::internal
