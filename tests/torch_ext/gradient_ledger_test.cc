// What is known of the server's gradient when several calls are on their way, whose ends arrive in
// any order.

#include "torch_ext/remote/gradient_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
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

TEST_P(GradientLedgerTest, ARefusedStepAsksForWhatARefusedLoadBeforeItHasLeft) {
  backward();
  const Ticket load = ledger_->begin_load();
  backward();  // after zero_grad(): the anchor shows this pass alone
  end({load_is_refused(load), step_is_refused(step(1))});
  EXPECT_THAT(ledger_->begin_step(0).error().message(), HasSubstr("of 2 backward passes"));
}

TEST_P(GradientLedgerTest, ARefusedPassBeforeARefusedStepMayNotBeShownAgain) {
  const Ticket pass = backward();
  end({backward_is_refused(pass), step_is_refused(step(1))});
  EXPECT_FALSE(ledger_->begin_step(1).ok());
  EXPECT_FALSE(step_has_a_gradient(0));
}

TEST_P(GradientLedgerTest, AStepThatFailsForWantOfAGradientChangesNothing) {
  const Ticket pass = backward();
  const Ticket behind = step(1);
  const Error failure = Error(ErrorCode::kRequestFailed, "optim_step: no gradients accumulated")
                            .with_category(ErrorCategory::kUser);
  end({backward_is_refused(pass), [&] { ledger_->end_step(behind, failure, Report::kNextCall); }});
  EXPECT_TRUE(ledger_->is_current(0));
  EXPECT_FALSE(step_has_a_gradient(0));
}

TEST_P(GradientLedgerTest, ACallThatEndsByAnExceptionLeavesTheGradientUnknown) {
  const Ticket pass = ledger_->begin_backward(0).value();
  const auto defect = []() -> Future<ForwardBackwardOutput> { throw invalid_argument("a defect"); };
  EXPECT_THROW((void)ledger_->send(defect,
                                   [&](GradientLedger& ledger, const auto& result, Report report) {
                                     ledger.end_backward(pass, result, report);
                                   }),
               Error);
  EXPECT_THAT(ledger_->begin_step(0).error().message(), HasSubstr("unknown what gradient"));
}

INSTANTIATE_TEST_SUITE_P(Orders, GradientLedgerTest, testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Backwards" : "InOrder"; });

constexpr char kCalls[] = {'b', 'z', 's', 'l'};  // backward(), zero_grad(), step(), load_state()
constexpr char kEnds[] = {'t', 'r', 'u'};        // taken, refused, unknown

/// Sends calls, and then tells their ends.
class Story {
 public:
  /// False: such a step is not sent.
  bool send(char call) {
    if (call == 'z') shown_ = 0;
    if (call == 'b') {
      ++shown_;
      ledger_->collect();
      tell_ends_.push_back(&Story::end_backward);
      tickets_.push_back(ledger_->begin_backward(1).value());
    }
    if (call == 'l') {
      tell_ends_.push_back(&Story::end_load);
      tickets_.push_back(ledger_->begin_load());
    }
    if (call != 's') return true;
    const auto begun = ledger_->begin_step(shown_);
    if (!begun || !*begun) return false;
    shown_ = 0;
    tell_ends_.push_back(&Story::end_step);
    tickets_.push_back(**begun);
    return true;
  }

  std::size_t sent() const { return tickets_.size(); }
  void tell(std::size_t call, char end) { (this->*tell_ends_[call])(tickets_[call], end); }

  /// What becomes of the next step: with the gradient as it is, then with larger ones.
  std::string next_step() {
    std::string text = ledger_->is_current(0) ? "current" : "stale";
    for (const double shown : {shown_, 0., 1., 2., 3., 4., 5.}) {
      const auto begun = ledger_->begin_step(shown);
      if (begun) return text + (*begun ? ", a step" : ", no step");
      const std::string& message = begun.error().message();
      text += ", " + message.substr(0, message.find(" The failure was: "));
    }
    return text;
  }

 private:
  template <class T>
  static Result<T> result(char end) {
    static const Error unknown(ErrorCode::kTimeout, "no answer");
    static const Error refused = refusal();
    if (end == 't') return T{};
    return end == 'r' ? refused : unknown;
  }
  void end_backward(const Ticket& ticket, char end) {
    ledger_->end_backward(ticket, result<ForwardBackwardOutput>(end), Report::kCaller);
  }
  void end_step(const Ticket& ticket, char end) {
    ledger_->end_step(ticket, result<OptimStepResponse>(end), Report::kCaller);
  }
  void end_load(const Ticket& ticket, char end) {
    ledger_->end_load(ticket, result<LoadWeightsResponse>(end), Report::kCaller);
  }

  const std::shared_ptr<GradientLedger> ledger_ = std::make_shared<GradientLedger>();
  double shown_ = 0;  ///< By the anchor.
  std::vector<void (Story::*)(const Ticket&, char)> tell_ends_;
  std::vector<Ticket> tickets_;
};

std::string next_step(const std::string& calls, const std::string& ends,
                      const std::vector<std::size_t>& order) {
  Story story;
  for (const char call : calls) story.send(call);
  for (const std::size_t call : order) story.tell(call, ends[call]);
  return story.next_step();
}

/// All texts of so many of these letters.
std::vector<std::string> texts(std::size_t length, std::span<const char> letters) {
  std::vector<std::string> all = {""};
  for (std::size_t i = 0; i < length; ++i) {
    std::vector<std::string> longer;
    for (const std::string& text : all) {
      for (const char letter : letters) longer.push_back(text + letter);
    }
    all = std::move(longer);
  }
  return all;
}

void expect_one_end_in_all_orders(const std::string& calls, const std::string& ends) {
  std::vector<std::size_t> order(ends.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const std::string in_order = next_step(calls, ends, order);
  while (std::next_permutation(order.begin(), order.end())) {
    EXPECT_EQ(next_step(calls, ends, order), in_order)
        << calls << " ended " << ends << " in the order " << testing::PrintToString(order);
  }
}

void expect_one_end_in_all_orders(std::size_t length, std::span<const char> kinds) {
  for (const std::string& calls : texts(length, kCalls)) {
    Story story;
    if (!std::ranges::all_of(calls, [&](char call) { return story.send(call); })) continue;
    for (const std::string& ends : texts(story.sent(), kinds)) {
      expect_one_end_in_all_orders(calls, ends);
    }
  }
}

TEST(GradientLedgerOrders, WhatIsKnownInTheEndDependsOnNoOrderOfTheEnds) {
  for (std::size_t length = 1; length <= 4; ++length) expect_one_end_in_all_orders(length, kEnds);
  expect_one_end_in_all_orders(5, std::span(kEnds).first(2));
}

}  // namespace
}  // namespace tinkex::torch_ext::remote
