#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "tinkex/base/mutex.h"
#include "tinkex/base/thread_annotations.h"
#include "tinkex/error.h"
#include "tinkex/future.h"
#include "tinkex/outputs.h"

namespace tinkex::torch_ext::remote {

/// Who hears of a call's failure.
enum class Report {
  kCaller,    ///< The caller waits for the result, or holds its future.
  kNextCall,  ///< Nobody waits: the next call throws it.
};

/// What is known about the gradient that a server holds for one model: of how many backward passes
/// it is the sum, whether all of them arrived, how many steps were sent. Holds no tensors, so that
/// the library's threads may own it. Thread-safe.
///
/// Counting. A graph whose backward pass reaches its node shows in the anchor's gradient; it is
/// held once its pass was sent. A pass that failed in between shows and is not held. So what the
/// anchor shows lies between what is held and what was collected, or somebody changed it.
class GradientLedger final : public std::enable_shared_from_this<GradientLedger> {
 public:
  /// What a call has counted, to be taken back if the server did not take it.
  struct Ticket {
    std::int64_t era = 0;       ///< Since the last accept() or forget().
    std::int64_t steps = 0;     ///< That were sent before, or with, the call.
    std::int64_t anchored = 0;  ///< Graphs.
    std::int64_t direct = 0;    ///< Passes that no graph knows of.
  };

  /// A backward pass has reached a node: the anchor will show it.
  void collect();
  /// Passes of `anchored` graphs, or with 0 one that no graph knows of, are about to be sent.
  /// Error: it is unknown what the server holds.
  Result<Ticket> begin_backward(std::int64_t anchored);
  /// A loss that the server computes: its gradient is open until settle_loss().
  Result<Ticket> begin_loss();
  /// backward() of such a loss. Error: a step was sent since then.
  Status settle_loss(const Ticket& loss);
  /// A step is about to be sent. `shown` is how many graphs the anchor's gradient shows. Absent:
  /// there is no gradient to apply.
  Result<std::optional<Ticket>> begin_step(double shown);

  /// The call succeeded or failed.
  void end_backward(const Ticket& ticket, const Result<ForwardBackwardOutput>& result,
                    Report report);
  void end_loss(const Ticket& ticket, const Result<ForwardBackwardOutput>& result);
  void end_step(const Ticket& ticket, const Result<OptimStepResponse>& result, Report report);

  /// Calls `end(ledger, result)` when the result is there, then passes it on.
  template <class T, class End>
  Future<T> watch(Future<T> future, End end) {
    auto done = std::make_shared<Promise<Unit>>(future.cell()->shared_executor());
    add_under_way(done->future());
    return std::move(future).then([ledger = shared_from_this(), end = std::move(end),
                                   done = std::move(done)](Result<T> result) -> Result<T> {
      end(*ledger, result);
      done->set(Unit{});
      return result;
    });
  }

  /// What the server holds counts as wanted, whatever it is.
  void accept();
  /// The server holds no gradient, and other weights than the graphs were made with.
  void forget();
  /// Waits for all calls that are watched. Error: on an executor thread it would wait for itself.
  Status wait();
  /// The first failure that nobody was told of; it has been told then.
  std::optional<Error> take_failure();

  /// Steps that were sent, and other changes of the weights: older graphs are stale.
  std::int64_t steps() const;
  /// Graphs that the anchor's gradient should show.
  std::int64_t anchored() const;
  Metrics backward_metrics() const;

 private:
  void add_under_way(Future<Unit> done);
  void start_era() TINKEX_REQUIRES(mutex_);
  void fail(const Ticket& ticket, const Error& error, Report report) TINKEX_REQUIRES(mutex_);
  bool current(const Ticket& ticket) const TINKEX_REQUIRES(mutex_);
  Status check_known() const TINKEX_REQUIRES(mutex_);

  mutable internal::Mutex mutex_;
  Ticket held_ TINKEX_GUARDED_BY(mutex_);                 ///< All that the server holds.
  std::int64_t collected_ TINKEX_GUARDED_BY(mutex_) = 0;  ///< Since the last step.
  /// Held again, because their step was refused; the anchor was cleared before it was sent.
  std::int64_t unshown_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::int64_t open_losses_ TINKEX_GUARDED_BY(mutex_) = 0;  ///< Without backward().
  std::optional<Error> unknown_ TINKEX_GUARDED_BY(mutex_);  ///< Why the state is unknown.
  std::optional<Error> unreported_ TINKEX_GUARDED_BY(mutex_);
  std::vector<Future<Unit>> under_way_ TINKEX_GUARDED_BY(mutex_);
  Metrics backward_metrics_ TINKEX_GUARDED_BY(mutex_);
};

}  // namespace tinkex::torch_ext::remote
