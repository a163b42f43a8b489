// What is known of the server's gradient when several calls are on their way, whose ends arrive in
// any order.

#include "torch_ext/remote/gradient_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "torch_ext/backend_errors.h"

namespace tinkex::torch_ext::remote {
namespace {

using Ticket = GradientLedger::Ticket;
using testing::HasSubstr;

Error refusal() { return Error(ErrorCode::kHttpStatus, "too many").with_not_accepted(true); }

/// Each test runs with the ends in the order of the calls, and in the other one.
class GradientLedgerTest : public testing::TestWithParam<bool> {
 protected:
  /// A backward pass of one graph.
  Ticket backward() { return pass({.graphs = 1, .before = ledger_->arrive(1)}); }
  Ticket loss() { return pass({.open = true}); }
  Ticket pass(const GradientLedger::Pass& pass) {
    const auto send = [] { return Future<ForwardBackwardOutput>::ready_with(refusal()); };
    return ledger_->send_pass(send, pass).second;
  }
  void settle(const Ticket& loss) { ledger_->settle_loss(loss, ledger_->arrive(1)).value(); }
  Ticket step(double shown) { return placed(ledger_->begin_step(shown).value().value()); }
  Ticket change() { return placed(ledger_->begin_change()); }
  Ticket placed(const Ticket& change) {
    const auto send = [] { return Future<Unit>::ready_with(Unit{}); };
    (void)ledger_->send_change(change, send, [](auto&&...) {});
    return change;
  }
  bool is_current(std::int64_t steps) { return ledger_->check_current(steps).ok(); }
  std::string refusal_of_a_step(double shown) {
    const auto begun = ledger_->begin_step(shown);
    return begun ? "none" : begun.error().message();
  }
  /// Whether a step would have a gradient to apply, if the anchor shows so much.
  bool step_has_a_gradient(double shown) { return ledger_->begin_step(shown).value().has_value(); }

  std::function<void()> pass_is_refused(const Ticket& ticket) {
    return [this, ticket] { ledger_->end_pass(ticket, refusal(), Report::kCaller); };
  }
  std::function<void()> step_is_refused(const Ticket& ticket) {
    return [this, ticket] { ledger_->end_step(ticket, refusal(), Report::kCaller); };
  }
  std::function<void()> step_is_taken(const Ticket& ticket) {
    return [this, ticket] { ledger_->end_step(ticket, OptimStepResponse{}, Report::kCaller); };
  }
  std::function<void()> step_finds_no_gradient(const Ticket& ticket) {
    const Error failure =
        Error(ErrorCode::kRequestFailed, kNoGradients).with_category(ErrorCategory::kUser);
    return [this, ticket, failure] { ledger_->end_step(ticket, failure, Report::kNextCall); };
  }
  std::function<void()> load_is_refused(const Ticket& ticket) {
    return [this, ticket] { ledger_->end_load(ticket, refusal(), Report::kCaller); };
  }

  void end(std::vector<std::function<void()>> ends) {
    if (GetParam()) std::reverse(ends.begin(), ends.end());
    for (const auto& each : ends) each();
  }

  const std::shared_ptr<GradientLedger> ledger_ = std::make_shared<GradientLedger>();
};

TEST_P(GradientLedgerTest, AStepAndALoadThatAreRefusedLeaveTheGradient) {
  backward();
  const Ticket refused = step(1);
  end({step_is_refused(refused), load_is_refused(change())});
  EXPECT_TRUE(step_has_a_gradient(0));
}

TEST_P(GradientLedgerTest, ABackwardPassAndItsStepThatAreRefusedLeaveNone) {
  const Ticket pass = backward();
  end({pass_is_refused(pass), step_is_refused(step(1))});
  backward();
  EXPECT_THAT(refusal_of_a_step(0), HasSubstr("of 1 backward pass that"));
  EXPECT_TRUE(step_has_a_gradient(1));
}

TEST_P(GradientLedgerTest, ARefusedBackwardPassLeavesTheOthersOfItsRefusedStep) {
  const Ticket pass = backward();
  backward();
  end({pass_is_refused(pass), step_is_refused(step(2))});
  EXPECT_TRUE(step_has_a_gradient(0));
}

TEST_P(GradientLedgerTest, TwoLoadsThatAreRefusedChangeNothing) {
  backward();
  const Ticket loss = this->loss();
  const Ticket first = change();
  EXPECT_FALSE(is_current(0));
  end({load_is_refused(first), load_is_refused(change())});
  EXPECT_TRUE(is_current(0));
  settle(loss);
  EXPECT_THAT(refusal_of_a_step(1), HasSubstr("of 2 backward passes"));
  EXPECT_TRUE(step_has_a_gradient(2));
}

TEST_P(GradientLedgerTest, PassesThatAreRefusedWithTheLoadBehindThemLeaveNothing) {
  const Ticket pass = backward();
  const Ticket loss = this->loss();
  end({pass_is_refused(pass), pass_is_refused(loss), load_is_refused(change())});
  EXPECT_FALSE(step_has_a_gradient(1));  // the anchor still shows the pass
}

TEST_P(GradientLedgerTest, AStepThatIsTakenTakesTheGradientOfARefusedOneBeforeIt) {
  backward();
  const Ticket refused = step(1);
  backward();
  end({step_is_refused(refused), step_is_taken(step(1))});
  EXPECT_FALSE(step_has_a_gradient(0));
}

TEST_P(GradientLedgerTest, GraphsAreStaleWhileAStepIsOnItsWayAndIfItIsTaken) {
  backward();
  const Ticket first = step(1);
  EXPECT_FALSE(is_current(0));
  backward();
  end({step_is_refused(first), step_is_refused(step(1))});
  EXPECT_TRUE(is_current(0));
  step_is_taken(step(0))();
  EXPECT_FALSE(is_current(0));
  EXPECT_TRUE(is_current(ledger_->steps()));
}

TEST_P(GradientLedgerTest, AStepPastTheModelVoidsItsGraphsAndItsGradientUnlessItIsRefused) {
  backward();
  ledger_->end_other_step(change(), refusal(), Report::kCaller);
  EXPECT_TRUE(is_current(0));
  ledger_->end_other_step(change(), OptimStepResponse{}, Report::kCaller);
  EXPECT_FALSE(is_current(0));
  EXPECT_FALSE(step_has_a_gradient(0));
}

TEST_P(GradientLedgerTest, ALoadEndsNoDoubtAboutWhatWasSentBehindIt) {
  const Ticket before = backward();
  const Ticket load = change();
  const Ticket behind = backward();
  const Error lost(ErrorCode::kTimeout, "no answer");
  end({[&] { ledger_->end_pass(before, lost, Report::kCaller); },
       [&] { ledger_->end_pass(behind, lost, Report::kCaller); }});
  ledger_->end_load(load, LoadWeightsResponse{}, Report::kCaller);
  EXPECT_THAT(refusal_of_a_step(1), HasSubstr("unknown what gradient"));
}

TEST_P(GradientLedgerTest, ARefusedStepAsksForWhatARefusedLoadBeforeItHasLeft) {
  backward();
  const Ticket load = change();
  backward();  // after zero_grad(): the anchor shows this pass alone
  end({load_is_refused(load), step_is_refused(step(1))});
  EXPECT_THAT(refusal_of_a_step(0), HasSubstr("of 2 backward passes"));
}

TEST_P(GradientLedgerTest, ARefusedPassBeforeARefusedStepMayNotBeShownAgain) {
  const Ticket pass = backward();
  end({pass_is_refused(pass), step_is_refused(step(1))});
  EXPECT_FALSE(ledger_->begin_step(1).ok());
  EXPECT_FALSE(step_has_a_gradient(0));
}

TEST_P(GradientLedgerTest, AStepThatFindsNoGradientChangesNothing) {
  const Ticket pass = backward();
  end({pass_is_refused(pass), step_finds_no_gradient(step(1))});
  EXPECT_TRUE(is_current(0));
  EXPECT_FALSE(step_has_a_gradient(0));
}

TEST_P(GradientLedgerTest, WhatAStepDoesNotFindIsNotTakenToBeHeldAnyMore) {
  const Ticket seen = backward();
  const Ticket load = change();
  const Ticket open = loss();
  backward();
  const Ticket other = change();
  const Error none =
      Error(ErrorCode::kRequestFailed, kNoGradients).with_category(ErrorCategory::kUser);
  ledger_->end_other_step(other, none, Report::kCaller);
  EXPECT_TRUE(is_current(load.steps));
  end({load_is_refused(load), pass_is_refused(seen), pass_is_refused(open)});
  EXPECT_TRUE(is_current(0));
  EXPECT_FALSE(step_has_a_gradient(2));  // which the anchor still shows
}

TEST_P(GradientLedgerTest, ACallThatEndsByAnExceptionLeavesTheGradientUnknown) {
  const auto defect = []() -> Future<ForwardBackwardOutput> { throw invalid_argument("a defect"); };
  EXPECT_THROW((void)ledger_->send_pass(defect, {}), Error);
  EXPECT_THAT(refusal_of_a_step(0), HasSubstr("unknown what gradient"));
}

TEST_P(GradientLedgerTest, ARefusedPassDoesNotStandForOneThatWasCleared) {
  backward();
  const Ticket refused = backward();  // after zero_grad(): the anchor shows this pass alone
  end({pass_is_refused(refused), load_is_refused(change())});
  EXPECT_THAT(
      refusal_of_a_step(1),
      HasSubstr("of 1 backward pass that the server has summed, the gradient here lacks 1"));
  EXPECT_TRUE(step_has_a_gradient(2));
}

TEST_P(GradientLedgerTest, AGradientThatWasShownAgainIsAskedForAgain) {
  backward();
  const Ticket refused = backward();
  const Ticket refused_step = step(2);
  end({pass_is_refused(refused), step_is_refused(refused_step)});
  EXPECT_EQ(ledger_->show_again(), 1);
  EXPECT_FALSE(ledger_->begin_step(0).ok());
  EXPECT_FALSE(ledger_->begin_step(2).ok());
  EXPECT_TRUE(step_has_a_gradient(1));
}

TEST_P(GradientLedgerTest, WhatAClosedServiceLeavesUnknownIsToldAsClosed) {
  ledger_->end_pass(backward(), Error(ErrorCode::kClosed, "closed"), Report::kCaller);
  EXPECT_EQ(ledger_->check_known().error().code(), ErrorCode::kClosed);
}

INSTANTIATE_TEST_SUITE_P(Orders, GradientLedgerTest, testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Backwards" : "InOrder"; });

}  // namespace
}  // namespace tinkex::torch_ext::remote
