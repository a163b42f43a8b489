#include "tinkex/async/step_chain.h"

#include <utility>

#include "tinkex/future.h"

namespace tinkex::internal {
namespace {

// In `exchange_`: an exchange whose id is not known yet, with its number in the other bits.
constexpr std::uint64_t kStarting = std::uint64_t{1} << 63;

}  // namespace

Error cancelled_error() {
  return Error(ErrorCode::kCancelled, "the caller cancelled this request");
}

void StepChain::exchange(HttpRequest request, Next next) {
  auto self = shared_from_this();
  std::uint64_t starting = kStarting | ++exchanges_;
  exchange_.store(starting);
  const Transport::RequestId id = runtime_->transport->send(
      std::move(request), [self, next = std::move(next)](Result<HttpResponse> reply) {
        self->exchange_.store(0);
        auto shared = std::make_shared<Result<HttpResponse>>(std::move(reply));
        run_on(self->runtime_->executor.get(), [self, next, shared] { next(std::move(*shared)); });
      });
  // The reply may have come already, and the next exchange be under way.
  if (!exchange_.compare_exchange_strong(starting, id)) return;
  if (cancelled_.load()) runtime_->transport->cancel(id);
  if (withdrawn()) runtime_->transport->withdraw(id);
}

void StepChain::pause_until(Clock::time_point when, std::function<void()> next) {
  after_pause_ = std::move(next);
  const std::uint64_t pause = pause_.fetch_add(1) + 1;
  timer_.store(
      runtime_->timers->schedule(when, [self = shared_from_this(), pause] { self->wake(pause); }));
  if (cancelled_.load() || withdrawn()) {
    runtime_->timers->cancel(timer_.load());
    wake(pause);
  }
}

void StepChain::wake(std::uint64_t pause) noexcept {
  std::uint64_t expected = pause;
  if (!pause_.compare_exchange_strong(expected, pause + 1)) return;
  run_on(runtime_->executor.get(), [self = shared_from_this()] {
    const std::function<void()> next = std::move(self->after_pause_);
    next();
  });
}

void StepChain::cancel() noexcept {
  cancelled_.store(true);
  if (const auto id = exchange_under_way()) runtime_->transport->cancel(*id);
  end_pause();
}

void StepChain::withdraw() noexcept {
  withdrawn_.store(true);
  if (!may_withdraw()) return;
  if (const auto id = exchange_under_way()) runtime_->transport->withdraw(*id);
  end_pause();
}

std::optional<Transport::RequestId> StepChain::exchange_under_way() const noexcept {
  const std::uint64_t exchange = exchange_.load();
  if (exchange == 0 || (exchange & kStarting) != 0) return std::nullopt;
  return exchange;
}

void StepChain::end_pause() noexcept {
  const std::uint64_t pause = pause_.load();
  if (pause % 2 == 0) return;
  runtime_->timers->cancel(timer_.load());
  wake(pause);
}

std::optional<Error> StepChain::stopped() const {
  if (cancelled_.load()) return cancelled_error();
  if (runtime_->closed.load()) return Error(ErrorCode::kClosed, "the service client was closed");
  return std::nullopt;
}

}  // namespace tinkex::internal
