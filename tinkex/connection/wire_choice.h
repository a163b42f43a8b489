#pragma once

#include <atomic>

#include "tinkex/options.h"

namespace tinkex::internal {

/// Which encoding of forward_backward a server takes, as far as its answers have told. One per
/// service; once known, it stays. Thread-safe, without a lock.
class WireChoice {
 public:
  /// What to encode with: protobuf until a server has taken JSON after refusing it.
  WireFormat format() const noexcept {
    return state_.load() == State::kJson ? WireFormat::kJson : WireFormat::kProtobuf;
  }

  bool undecided() const noexcept { return state_.load() == State::kUndecided; }

  /// The server has taken a request in this format. What it took first counts.
  void taken(WireFormat format) noexcept {
    State undecided = State::kUndecided;
    state_.compare_exchange_strong(undecided,
                                   format == WireFormat::kJson ? State::kJson : State::kProtobuf);
  }

 private:
  enum class State { kUndecided, kProtobuf, kJson };

  std::atomic<State> state_{State::kUndecided};
};

}  // namespace tinkex::internal
