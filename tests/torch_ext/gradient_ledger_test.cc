// What is known of the server's gradient when several calls are on their way, whose ends arrive in
// any order.

#include "torch_ext/remote/gradient_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace tinkex::torch_ext::remote {
namespace {

using Ticket = GradientLedger::Ticket;
using testing::HasSubstr;

Error refusal() { return Error(ErrorCode::kHttpStatus, "too many").with_not_accepted(true); }

/// Each test runs with the ends in the order of the calls, and in the other one.
class GradientLedgerTest : public testing::TestWithParam<bool> {
 protected:
  /// A backward pass of one graph.
  Ticket backward() {
    ledger_->collect();
    return ledger_->begin_backward(1).value();
  }
  Ticket step(double shown) { return ledger_->begin_step(shown).value().value(); }
  /// Whether a step would have a gradient to apply, if the anchor shows so much.
  bool step_has_a_gradient(double shown) { return ledger_->begin_step(shown).value().has_value(); }

  std::function<void()> backward_is_refused(const Ticket& ticket) {
    return [this, ticket] { ledger_->end_backward(ticket, refusal(), Report::kCaller); };
  }
  std::function<void()> loss_is_refused(const Ticket& ticket) {
    return [this, ticket] { ledger_->end_loss(ticket, refusal(), Report::kCaller); };
  }
  std::function<void()> step_is_refused(const Ticket& ticket) {
    return [this, ticket] { ledger_->end_step(ticket, refusal(), Report::kCaller); };
  }
  std::function<void()> step_is_taken(const Ticket& ticket) {
    return [this, ticket] { ledger_->end_step(ticket, OptimStepResponse{}, Report::kCaller); };
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
  end({step_is_refused(refused), load_is_refused(ledger_->begin_load())});
  EXPECT_TRUE(step_has_a_gradient(0));
}

TEST_P(GradientLedgerTest, ABackwardPassAndItsStepThatAreRefusedLeaveNone) {
  const Ticket pass = backward();
  end({backward_is_refused(pass), step_is_refused(step(1))});
  backward();
  EXPECT_THAT(ledger_->begin_step(0).error().message(), HasSubstr("of 1 backward pass that"));
  EXPECT_TRUE(step_has_a_gradient(1));
}

TEST_P(GradientLedgerTest, ARefusedBackwardPassLeavesTheOthersOfItsRefusedStep) {
  const Ticket pass = backward();
  backward();
  end({backward_is_refused(pass), step_is_refused(step(2))});
  EXPECT_TRUE(step_has_a_gradient(0));
}

TEST_P(GradientLedgerTest, TwoLoadsThatAreRefusedChangeNothing) {
  backward();
  const Ticket loss = ledger_->begin_loss().value();
  const Ticket first = ledger_->begin_load();
  EXPECT_FALSE(ledger_->is_current(0));
  end({load_is_refused(first), load_is_refused(ledger_->begin_load())});
  EXPECT_TRUE(ledger_->is_current(0));
  ledger_->collect();
  ledger_->settle_loss(loss).value();
  EXPECT_THAT(ledger_->begin_step(1).error().message(), HasSubstr("of 2 backward passes"));
  EXPECT_TRUE(step_has_a_gradient(2));
}

TEST_P(GradientLedgerTest, PassesThatAreRefusedWithTheLoadBehindThemLeaveNothing) {
  const Ticket pass = backward();
  const Ticket loss = ledger_->begin_loss().value();
  end({backward_is_refused(pass), loss_is_refused(loss), load_is_refused(ledger_->begin_load())});
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
  EXPECT_FALSE(ledger_->is_current(0));
  backward();
  end({step_is_refused(first), step_is_refused(step(1))});
  EXPECT_TRUE(ledger_->is_current(0));
  step_is_taken(step(0))();
  EXPECT_FALSE(ledger_->is_current(0));
  EXPECT_TRUE(ledger_->is_current(ledger_->steps()));
}

TEST_P(GradientLedgerTest, AStepPastTheModelVoidsItsGraphsAndItsGradientUnlessItIsRefused) {
  backward();
  ledger_->end_other_step(ledger_->begin_other_step(), refusal(), Report::kCaller);
  EXPECT_TRUE(ledger_->is_current(0));
  ledger_->end_other_step(ledger_->begin_other_step(), OptimStepResponse{}, Report::kCaller);
  EXPECT_FALSE(ledger_->is_current(0));
  EXPECT_FALSE(step_has_a_gradient(0));
}

TEST_P(GradientLedgerTest, ALoadEndsNoDoubtAboutWhatWasSentBehindIt) {
  const Ticket before = backward();
  const Ticket load = ledger_->begin_load();
  const Ticket behind = backward();
  const Error lost(ErrorCode::kTimeout, "no answer");
  end({[&] { ledger_->end_backward(before, lost, Report::kCaller); },
       [&] { ledger_->end_backward(behind, lost, Report::kCaller); }});
  ledger_->end_load(load, LoadWeightsResponse{}, Report::kCaller);
  EXPECT_THAT(ledger_->begin_step(1).error().message(), HasSubstr("unknown what gradient"));
}

INSTANTIATE_TEST_SUITE_P(Orders, GradientLedgerTest, testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Backwards" : "InOrder"; });

}  // namespace
}  // namespace tinkex::torch_ext::remote
