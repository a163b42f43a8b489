#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
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

/// What is known about the gradient that a server holds for one model: of which backward passes it
/// is the sum, whether all of them arrived, how many steps were sent. Holds no tensors, so that
/// the library's threads may own it. Thread-safe.
///
/// Counting. The anchor's gradient shows a graph from the moment at which a backward pass adds to
/// it, before which the ledger is told, whatever becomes of the pass. zero_grad() takes all away.
/// So what the anchor shows are the last graphs that were added, and if the first that the server
/// holds is among them, none was cleared. If it shows more than was added, somebody changed it. A
/// pass may be sent without being shown, by autograd::grad() for one. A step clears the anchor:
/// what it has shown by then need not be shown again if the step is refused.
///
/// Order. The server takes calls in the order in which they are sent; their ends arrive in any. A
/// step or load that is sent takes the counts of its time with it. A call that was refused is taken
/// out of whatever has its count now, and a step or load that was refused leaves its counts to the
/// next one that is on its way, or to those of now. What a step finds out of the anchor is noted
/// pass by pass, when it begins: so what is known in the end depends on no order of the ends.
///
/// Threads. Between the count of a call and its place in the order another thread may send one. So
/// a step or load counts before it is sent, a pass once it has its place. Then a pass may be taken
/// to be held that a step has applied, which step() or the server refuses, but never to be applied
/// while it is held, which the next step would apply in silence. For the same reason a forward pass
/// does not trust a step or load that may have no place yet.
class GradientLedger final : public std::enable_shared_from_this<GradientLedger> {
 public:
  /// What a call has counted, to be taken back if the server did not take it.
  struct Ticket {
    std::int64_t era = 0;    ///< Since the last accept().
    std::int64_t steps = 0;  ///< That were counted before, or with, the call; loads, too.
    std::int64_t pass = 0;   ///< The number of a pass.
  };
  /// A pass whose gradient the server sums.
  struct Pass {
    std::int64_t graphs = 0;  ///< Whose gradient it is; 0 if none knows of it.
    /// What arrive() gave for them. Absent: the anchor was not shown them.
    std::optional<std::int64_t> before = std::nullopt;
    bool open = false;     ///< A loss of the server's whose backward() is still to come.
    bool cleared = false;  ///< By a step, from the anchor, which need not show them any more.
  };

  /// A backward pass adds so many graphs to the anchor's gradient. Gives how many were added
  /// before, cleared or not.
  std::int64_t arrive(std::int64_t graphs);

  /// Error: it is unknown what the server holds.
  Status check_known() const;
  /// Error: the weights are not those of a graph any more that was made after so many steps.
  Status check_current(std::int64_t steps) const;
  /// backward() of a loss of the server's. Error: a step was sent since then, or accept() has
  /// counted its gradient.
  Status check_open(const Ticket& loss) const;
  /// The same, and it is not open any more. `before`: as in Pass.
  Status settle_loss(const Ticket& loss, std::optional<std::int64_t> before);

  /// A step is about to be sent. `shown` is how many graphs the anchor's gradient shows. Absent:
  /// there is no gradient to apply.
  Result<std::optional<Ticket>> begin_step(double shown);
  /// Other weights are about to be loaded, or a step is about to be sent past the model. From here
  /// on, graphs that were made before are stale and the gradient is void, unless the call is
  /// refused: who gives up its result does not stop it.
  Ticket begin_change();

  /// Gives the future of the pass that `call()` sends, and counts it.
  template <class Call>
  std::pair<Future<ForwardBackwardOutput>, Ticket> send_pass(const Call& call, const Pass& pass) {
    Future<ForwardBackwardOutput> sent =
        send(call, [&pass](GradientLedger& ledger, const Result<ForwardBackwardOutput>& lost,
                           Report report) { ledger.end_pass(ledger.count(pass), lost, report); });
    return {std::move(sent), count(pass)};
  }
  /// Gives the future of the step or load that `call()` sends. If that throws, `end` is called as
  /// in watch().
  template <class Call, class End>
  auto send_change(const Ticket& change, const Call& call, const End& end) -> decltype(call()) {
    const Leaving until_it_has_its_place(*this, change);
    return send(call, end);
  }

  /// The call succeeded or failed.
  void end_pass(const Ticket& ticket, const Result<ForwardBackwardOutput>& result, Report report);
  void end_step(const Ticket& ticket, const Result<OptimStepResponse>& result, Report report);
  void end_other_step(const Ticket& ticket, const Result<OptimStepResponse>& result, Report report);
  /// Success ends all doubt about what was sent before.
  void end_load(const Ticket& ticket, const Result<LoadWeightsResponse>& result, Report report);

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

  /// What the server holds counts as wanted, whatever it is. If the first failure that nobody was
  /// told of is a refusal, it is still to be told: what was refused is not held.
  void accept();
  /// Waits for all calls that are watched. Error: on an executor thread it would wait for itself.
  Status wait();
  /// The first failure that nobody was told of; it has been told then.
  std::optional<Error> take_failure();
  /// The same for backward(), which may run while another call is given up: what that has taken may
  /// still be told again. `before`: as in Pass, of the pass that tells it. As the anchor shows that
  /// pass, what refused steps have left counts as shown with it: who clears the one clears the
  /// other.
  std::optional<Error> take_failure_beside_calls(std::optional<std::int64_t> before);
  /// Nobody has heard of it after all, if it is the failure that `text` begins with, perhaps after
  /// a word of LibTorch's, and that the last take_failure() has taken.
  void tell_again(std::string_view text);

  /// How many steps, and other changes of the weights, are certain to come before what is sent now.
  std::int64_t steps() const;
  /// How many graphs a step has cleared from the anchor that was refused. The caller adds them to
  /// its gradient again.
  std::int64_t show_again();
  Metrics backward_metrics() const;

 private:
  /// A failed call, and how many steps had been sent before it.
  struct Failure {
    Error error;
    std::int64_t steps;
  };
  /// A gradient on the server, and what the anchor may show of it.
  struct Counts {
    std::map<std::int64_t, Pass> passes;  ///< Whose gradient it is, by their numbers.
    std::int64_t added = 0;               ///< Graphs, to the anchor, since it was cleared.
  };
  /// What the end of a step or load tells of the gradient that was there before it.
  enum class Before { kGone, kStillThere, kNone };

  class Leaving {
   public:
    Leaving(GradientLedger& ledger, const Ticket& change) : ledger_(ledger), steps_(change.steps) {}
    ~Leaving() { ledger_.has_its_place(steps_); }
    Leaving(const Leaving&) = delete;
    Leaving& operator=(const Leaving&) = delete;

   private:
    GradientLedger& ledger_;
    const std::int64_t steps_;
  };

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

  Ticket count(const Pass& pass);
  void has_its_place(std::int64_t change);
  static Before before_step(const Result<OptimStepResponse>& result);
  void add_under_way(Future<Unit> done);
  Ticket count_change() TINKEX_REQUIRES(mutex_);
  void end_change(const Ticket& ticket, Before before) TINKEX_REQUIRES(mutex_);
  /// What has the counts of a call that was counted after so many steps; null if they are used up.
  Counts* holder(std::int64_t steps) TINKEX_REQUIRES(mutex_);
  void fail(const Ticket& ticket, const Error& error, Report report) TINKEX_REQUIRES(mutex_);
  bool weights_are_of(std::int64_t steps) const TINKEX_REQUIRES(mutex_);
  Status known() const TINKEX_REQUIRES(mutex_);
  Status open(const Ticket& loss) const TINKEX_REQUIRES(mutex_);
  Status check_shown(double shown) const TINKEX_REQUIRES(mutex_);

  mutable internal::Mutex mutex_;
  std::int64_t era_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::int64_t steps_ TINKEX_GUARDED_BY(mutex_) = 0;  ///< Counted, with loads.
  /// Those of them that may have no place in the order yet.
  std::set<std::int64_t> leaving_ TINKEX_GUARDED_BY(mutex_);
  /// The last step or load that was taken, or may have been.
  std::int64_t consumed_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::int64_t passes_ TINKEX_GUARDED_BY(mutex_) = 0;   ///< Sent.
  std::int64_t arrived_ TINKEX_GUARDED_BY(mutex_) = 0;  ///< Graphs that were added to the anchor.
  /// Losses that were open when accept() counted their gradients, until a step or load is taken.
  std::set<std::int64_t> accepted_losses_ TINKEX_GUARDED_BY(mutex_);
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

/// What tells a ledger, by its method `End`, of the end of a call, for send_change() and watch().
template <auto End>
auto end_of(const GradientLedger::Ticket& ticket) {
  return [ticket](GradientLedger& ledger, const auto& result, Report report) {
    (ledger.*End)(ticket, result, report);
  };
}

}  // namespace tinkex::torch_ext::remote
