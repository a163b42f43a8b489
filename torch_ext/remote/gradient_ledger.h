#pragma once

#include <cstdint>
#include <map>
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
#include "tinkex/result_cell.h"

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
/// anchor shows lies between what is held and what was collected, or somebody changed it. A step
/// clears the anchor: what it has shown by then need not be shown again if the step is refused.
///
/// Order. The server takes calls in the order in which they are sent; their ends arrive in any. A
/// step or load that is sent takes the counts of its time with it. A call that was refused is taken
/// out of whatever has its count now, and a step or load that was refused leaves its counts to the
/// next one that is on its way, or to those of now. What a step finds out of the anchor is noted
/// pass by pass, when it begins: so what is known in the end depends on no order of the ends.
class GradientLedger final : public std::enable_shared_from_this<GradientLedger> {
 public:
  /// What a call has counted, to be taken back if the server did not take it.
  struct Ticket {
    std::int64_t era = 0;    ///< Since the last accept().
    std::int64_t steps = 0;  ///< That were sent before, or with, the call; loads, too.
    std::int64_t pass = 0;   ///< The number of a backward pass.
  };

  /// A backward pass has reached a node: the anchor will show it.
  void collect();
  /// Passes of `anchored` graphs, or with 0 one that no graph knows of, are about to be sent.
  /// Error: it is unknown what the server holds.
  Result<Ticket> begin_backward(std::int64_t anchored);
  /// A loss that the server computes: its gradient is open until settle_loss().
  Result<Ticket> begin_loss();
  /// backward() of such a loss. Error: a step was sent since then, which check_open() tells before.
  Status check_open(const Ticket& loss) const;
  Status settle_loss(const Ticket& loss);
  /// A step is about to be sent. `shown` is how many graphs the anchor's gradient shows. Absent:
  /// there is no gradient to apply.
  Result<std::optional<Ticket>> begin_step(double shown);

  /// Other weights are about to be loaded, or a step is about to be sent past the model. From here
  /// on, graphs that were made before are stale and the gradient is void, whatever becomes of the
  /// result: who gives it up does not stop the call.
  Ticket begin_load();
  Ticket begin_other_step();

  /// The call succeeded or failed.
  void end_backward(const Ticket& ticket, const Result<ForwardBackwardOutput>& result,
                    Report report);
  void end_loss(const Ticket& ticket, const Result<ForwardBackwardOutput>& result, Report report);
  void end_step(const Ticket& ticket, const Result<OptimStepResponse>& result, Report report);
  void end_other_step(const Ticket& ticket, const Result<OptimStepResponse>& result, Report report);
  /// Success ends all doubt about what was sent before.
  void end_load(const Ticket& ticket, const Result<LoadWeightsResponse>& result, Report report);

  /// Gives the future that `call()` gives. If that throws, nobody knows whether a call was sent,
  /// and nobody will tell: `end(ledger, result, report)` is called at once, with such an error.
  template <class Call, class End>
  auto send(const Call& call, const End& end) -> decltype(call()) {
    try {
      return call();
    } catch (...) {
      using T = typename decltype(call())::value_type;
      const Result<T> lost = internal::error_from_current_exception().with_not_accepted(false);
      end(*this, lost, Report::kCaller);
      throw;
    }
  }

  /// Calls `end(ledger, result, report)` when the result is there, then passes it on.
  template <class T, class End>
  Future<T> watch(Future<T> future, const End& end, Report report) {
    return send(
        [&] {
          auto done = std::make_shared<Promise<Unit>>(future.cell()->shared_executor());
          add_under_way(done->future());
          return std::move(future).then([ledger = shared_from_this(), end, report,
                                         done = std::move(done)](Result<T> result) -> Result<T> {
            end(*ledger, result, report);
            done->set(Unit{});
            return result;
          });
        },
        end);
  }

  /// What the server holds counts as wanted, whatever it is.
  void accept();
  /// Waits for all calls that are watched. Error: on an executor thread it would wait for itself.
  Status wait();
  /// The first failure that nobody was told of; it has been told then.
  std::optional<Error> take_failure();
  /// The same for backward(), which may run while another call is given up: what that has taken may
  /// still be told again.
  std::optional<Error> take_failure_beside_calls();
  /// Nobody has heard of it after all, if it is the failure that `text` begins with, perhaps after
  /// a word of LibTorch's, and that the last take_failure() has taken.
  void tell_again(std::string_view text);

  /// Steps that were sent, and other changes of the weights.
  std::int64_t steps() const;
  /// Whether the weights are still those of a graph that was made after so many.
  bool is_current(std::int64_t steps) const;
  /// Graphs that the anchor's gradient should show; the caller makes it show them.
  std::int64_t show_all();
  Metrics backward_metrics() const;

 private:
  /// A failed call, and how many steps had been sent before it.
  struct Failure {
    Error error;
    std::int64_t steps;
  };
  /// A backward pass that was sent.
  struct Pass {
    std::int64_t number;
    std::int64_t anchored;  ///< Graphs; 0 if none knows of it.
    bool shown;             ///< Whether the anchor must show them: no step has cleared it since.
  };
  /// A gradient on the server, and what the anchor may show of it.
  struct Counts {
    std::vector<Pass> passes;      ///< Whose gradient it is.
    std::int64_t collected = 0;    ///< Graphs that the anchor may show.
    std::int64_t open_losses = 0;  ///< Without backward().

    std::int64_t anchored() const;
    std::int64_t must_show() const;
  };

  void add_under_way(Future<Unit> done);
  std::int64_t add_pass(std::int64_t anchored) TINKEX_REQUIRES(mutex_);
  Ticket begin_clearing() TINKEX_REQUIRES(mutex_);
  /// The end of a step or load. `refused`: its gradient is there as before.
  void end_clearing(const Ticket& ticket, bool refused) TINKEX_REQUIRES(mutex_);
  /// What has the counts of a call that was sent after so many steps; null if they are used up.
  Counts* holder(std::int64_t steps) TINKEX_REQUIRES(mutex_);
  void take_back(const Ticket& ticket) TINKEX_REQUIRES(mutex_);
  void fail(const Ticket& ticket, const Error& error, Report report) TINKEX_REQUIRES(mutex_);
  bool weights_are_of(std::int64_t steps) const TINKEX_REQUIRES(mutex_);
  Status open(const Ticket& loss) const TINKEX_REQUIRES(mutex_);
  Status check_known() const TINKEX_REQUIRES(mutex_);

  mutable internal::Mutex mutex_;
  std::int64_t era_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::int64_t steps_ TINKEX_GUARDED_BY(mutex_) = 0;  ///< Sent, with loads.
  /// The last step or load that was taken, or may have been.
  std::int64_t consumed_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::int64_t passes_ TINKEX_GUARDED_BY(mutex_) = 0;  ///< Sent.
  Counts now_ TINKEX_GUARDED_BY(mutex_);  ///< What was sent since the last step or load.
  /// What the steps and loads whose ends are still to come have taken with them, by their numbers.
  std::map<std::int64_t, Counts> clearing_ TINKEX_GUARDED_BY(mutex_);
  /// Calls before these steps are without a trace: a load succeeded then.
  std::int64_t known_from_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::optional<Failure> unknown_ TINKEX_GUARDED_BY(mutex_);  ///< Why the state is unknown.
  std::optional<Failure> unreported_ TINKEX_GUARDED_BY(mutex_);
  std::optional<Failure> told_ TINKEX_GUARDED_BY(mutex_);  ///< What take_failure() took last.
  std::vector<Future<Unit>> under_way_ TINKEX_GUARDED_BY(mutex_);
  Metrics backward_metrics_ TINKEX_GUARDED_BY(mutex_);
};

}  // namespace tinkex::torch_ext::remote
