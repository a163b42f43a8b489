#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "tinkex/async/last_word.h"
#include "tinkex/connection/service_context.h"
#include "tinkex/future.h"

namespace tinkex::internal {

/// The deadline that applies to a call: its own, or the client's.
std::optional<std::chrono::milliseconds> deadline_of(const ServiceContext& service,
                                                     const CallOptions& call);

/// What the requests of a call with a deadline tell their last word; null for a call without.
LastWordPtr last_word_for(const ServiceContext& service, const CallOptions& call);

/// "forward_backward: the deadline of 500 ms passed before the result was there", and what was last
/// heard, unless that is empty.
Error deadline_error(const std::string& what, std::chrono::milliseconds deadline,
                     const std::string& heard = {});

/// Lets `cell` end with kDeadlineExceeded, and its producer stop as if it were cancelled, when the
/// deadline of the call has passed; now, if it is zero or less. Call it before anything is sent.
/// The error tells `last_word`; `describe`, which may be empty, adds to the error what was achieved
/// until it stopped.
///
/// Threads. The timer hands over to the executor, which ends the cell. The timer is given back when
/// the cell settles. A timer that fires early, because the service is closing, does nothing: the
/// producer settles the cell then.
template <class T>
void arm_deadline(const ServiceContext& service, const std::shared_ptr<ResultCell<T>>& cell,
                  const CallOptions& call, const std::string& what, LastWordPtr last_word,
                  std::function<Error(Error)> describe = nullptr) {
  const auto deadline = deadline_of(service, call);
  if (!deadline) return;
  if (*deadline <= deadline->zero()) {
    return cell->end(deadline_error(what, *deadline).with_not_accepted(true));
  }
  const std::shared_ptr<Runtime>& runtime = service.runtime;
  const Clock::time_point when = deadline_after(runtime->clock->now(), *deadline);
  const auto expire = [weak = std::weak_ptr<ResultCell<T>>(cell), what, deadline = *deadline,
                       last_word = std::move(last_word), describe = std::move(describe)] {
    const auto waiting = weak.lock();
    if (!waiting) return;
    // What is told to stop takes its word back.
    const std::string heard = last_word ? last_word->text() : "";
    waiting->end_with([&] {
      Error error = deadline_error(what, deadline, heard);
      return describe ? describe(std::move(error)) : error;
    });
  };
  const TimerService::TimerId timer =
      runtime->timers->schedule(when, [weak = std::weak_ptr<Runtime>(runtime), when, expire] {
        const auto running = weak.lock();
        if (!running || running->clock->now() < when) return;
        run_on(running->executor.get(), expire);
      });
  cell->on_ready([weak = std::weak_ptr<TimerService>(runtime->timers), timer](ResultCell<T>&) {
    if (const auto timers = weak.lock()) timers->cancel(timer);
  });
}

/// The same for a call that has begun: one whose time is up from the start may have left.
template <class T>
Future<T> with_deadline(const ServiceContext& service, Future<T> future, const CallOptions& call,
                        const std::string& what, LastWordPtr last_word) {
  const auto deadline = deadline_of(service, call);
  if (deadline && *deadline <= deadline->zero()) {
    future.cell()->end(deadline_error(what, *deadline));
  } else {
    arm_deadline(service, future.cell(), call, what, std::move(last_word));
  }
  return future;
}

}  // namespace tinkex::internal
