#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
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
    std::int64_t era = 0;       ///< Since the last accept().
    std::int64_t steps = 0;     ///< That were sent before, or with, the call.
    std::int64_t anchored = 0;  ///< Graphs.
    std::int64_t direct = 0;    ///< Passes that no graph knows of.
  };
  /// What was known when a load was sent, to be known again if the server refuses it.
  struct Load {
    Ticket held;
    std::int64_t oldest = 0;
    std::int64_t collected = 0;
    std::int64_t unshown = 0;
    std::int64_t open_losses = 0;
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

  /// Other weights are about to be loaded. From here on, graphs that were made before are stale and
  /// the gradient is void, whatever becomes of the result: who gives it up does not stop the load.
  Load begin_load();

  /// The call succeeded or failed.
  void end_backward(const Ticket& ticket, const Result<ForwardBackwardOutput>& result,
                    Report report);
  void end_loss(const Ticket& ticket, const Result<ForwardBackwardOutput>& result);
  void end_step(const Ticket& ticket, const Result<OptimStepResponse>& result, Report report);
  /// Success ends all doubt about what was sent before; a refusal gives that back.
  void end_load(const Load& load, const Result<LoadWeightsResponse>& result);

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
  /// Waits for all calls that are watched. Error: on an executor thread it would wait for itself.
  Status wait();
  /// The first failure that nobody was told of; it has been told then.
  std::optional<Error> take_failure();
  /// Nobody has heard of it after all, if `text` is what the failure that was taken last says.
  void tell_again(std::string_view text);

  /// Steps that were sent, and other changes of the weights.
  std::int64_t steps() const;
  /// Whether the weights are still those of a graph that was made after so many.
  bool is_current(std::int64_t steps) const;
  /// Graphs that the anchor's gradient should show.
  std::int64_t anchored() const;
  Metrics backward_metrics() const;

 private:
  /// A failed call, and how many steps had been sent before it.
  struct Failure {
    Error error;
    std::int64_t steps;
  };

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
  /// The least `steps` whose weights are the ones of now: less than held_.steps after a load that
  /// the server refused.
  std::int64_t oldest_ TINKEX_GUARDED_BY(mutex_) = 0;
  /// Calls before these steps are without a trace: a load succeeded then.
  std::int64_t known_from_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::optional<Failure> unknown_ TINKEX_GUARDED_BY(mutex_);  ///< Why the state is unknown.
  std::optional<Failure> unreported_ TINKEX_GUARDED_BY(mutex_);
  std::optional<Failure> told_ TINKEX_GUARDED_BY(mutex_);  ///< That was taken last.
  std::vector<Future<Unit>> under_way_ TINKEX_GUARDED_BY(mutex_);
  Metrics backward_metrics_ TINKEX_GUARDED_BY(mutex_);
};

}  // namespace tinkex::torch_ext::remote
