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

/// What is known about the gradient that a server holds for one model: how many backward passes it
/// is the sum of, whether all of them arrived, how many steps were sent. Holds no tensors, so that
/// the library's threads may own it. Thread-safe.
class GradientLedger final : public std::enable_shared_from_this<GradientLedger> {
 public:
  /// A backward pass of `anchored` graphs was begun, or, with 0, one that no graph knows of.
  /// Error: it is unknown what the server holds.
  Status begin_backward(std::int64_t anchored);
  /// A loss that the server computes was begun: its gradient is open until settle_loss().
  Status begin_loss();
  /// A loss was begun, and its backward() was called. Error: a step was sent since then.
  Status settle_loss(std::int64_t steps);
  /// A step is about to be sent; what begin_step() took is given back if it was refused. `shown` is
  /// how many graphs the anchor's gradient shows. False: there is no gradient to apply.
  Result<bool> begin_step(double shown);

  /// The call succeeded or failed. `taken` is what begin_... counted.
  void end_backward(const Result<ForwardBackwardOutput>& result, std::int64_t anchored);
  void end_loss(const Result<ForwardBackwardOutput>& result);
  void end_step(const Result<OptimStepResponse>& result);

  /// Calls `end` with the result when it is there, then passes it on. For calls nobody waits for.
  template <class T, class End>
  Future<T> watch(Future<T> future, End end) {
    auto done = std::make_shared<Promise<Unit>>();
    add_under_way(done->future());
    return std::move(future).then([ledger = shared_from_this(), end = std::move(end),
                                   done = std::move(done)](Result<T> result) -> Result<T> {
      end(*ledger, result);
      done->set(Unit{});
      return result;
    });
  }

  /// The gradient that the server holds counts as wanted, whatever it is.
  void accept();
  /// Waits for all calls that are watched.
  void wait();
  /// The first failure since the last call, which then has been told.
  std::optional<Error> take_failure();

  std::int64_t steps() const;
  /// Graphs that the anchor's gradient should show.
  std::int64_t anchored() const;
  Metrics backward_metrics() const;

 private:
  struct Held {
    std::int64_t anchored = 0;  ///< Graphs whose backward pass was sent.
    bool direct = false;        ///< Something that no graph knows of.
  };

  void add_under_way(Future<Unit> done);
  void fail(const Error& error) TINKEX_REQUIRES(mutex_);
  Status check_known() const TINKEX_REQUIRES(mutex_);

  mutable internal::Mutex mutex_;
  Held held_ TINKEX_GUARDED_BY(mutex_);
  Held stepped_ TINKEX_GUARDED_BY(mutex_);  ///< What the last step took.
  std::int64_t open_losses_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::int64_t steps_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::optional<Error> unknown_ TINKEX_GUARDED_BY(mutex_);     ///< Why the state is unknown.
  std::optional<Error> unreported_ TINKEX_GUARDED_BY(mutex_);  ///< What nobody was told yet.
  std::vector<Future<Unit>> under_way_ TINKEX_GUARDED_BY(mutex_);
  Metrics backward_metrics_ TINKEX_GUARDED_BY(mutex_);
};

}  // namespace tinkex::torch_ext::remote
