#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <utility>

#include "tinkex/error.h"
#include "tinkex/future.h"

namespace sft {

/// Waits for results, and says so where that takes long: longer than a while, and than twice what
/// any result took before, so that a run of long steps is not full of it. Says it again each time
/// that the wait has doubled.
class Patience {
 public:
  using Say = std::function<void(const std::string&)>;

  /// `gives_up`: how long a server is asked although it does not answer; 0 if there is none.
  Patience(Say say, std::chrono::milliseconds gives_up,
           std::chrono::milliseconds a_while = std::chrono::seconds(20))
      : say_(std::move(say)), gives_up_(gives_up), a_while_(a_while) {}

  /// The result of `future`; `what` is the name of it.
  template <class T>
  tinkex::Result<T> wait_for(tinkex::Future<T> future, const std::string& what) {
    const auto begun = Clock::now();
    std::chrono::milliseconds waited{0};
    while (!future.wait_for(std::max(waited, a_while_))) {
      waited += std::max(waited, a_while_);
      say_waiting(what, waited);
    }
    const auto taken = std::chrono::ceil<std::chrono::milliseconds>(Clock::now() - begun);
    a_while_ = std::max(a_while_, 2 * taken);
    return std::move(future).get();
  }

 private:
  using Clock = std::chrono::steady_clock;

  void say_waiting(const std::string& what, std::chrono::milliseconds waited);

  const Say say_;
  std::chrono::milliseconds gives_up_;
  std::chrono::milliseconds a_while_;
};

}  // namespace sft
