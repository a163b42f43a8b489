#include "tests/tinkex/schedules/verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "tests/tinkex/schedules/virtual_run.h"

namespace tinkex::testing {
namespace {

using mocks::LoggedRequest;
using mocks::Operation;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// Each test takes a run in which all was well, does what a faulty client would have done, and
/// expects to be told.
class VerdictTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_THAT(judge(evidence_), IsEmpty()); }

  void expect_blame(const std::string& what) {
    EXPECT_THAT(judge(evidence_), Contains(HasSubstr(what)));
  }

  /// The operations of the first model, in order.
  std::vector<Operation*> of_model() {
    std::vector<Operation*> found;
    for (Operation& operation : evidence_.operations) {
      if (operation.owner == "model-1") found.push_back(&operation);
    }
    return found;
  }
  std::vector<LoggedRequest*> sends() {
    std::vector<LoggedRequest*> found;
    for (LoggedRequest& request : evidence_.log) {
      const bool of_first = request.body.find("model-1") != std::string::npos;
      if (of_first && request.target != "/api/v1/retrieve_future") found.push_back(&request);
    }
    return found;
  }
  std::size_t last_call() const { return evidence_.outcomes.size() - 1; }

  VirtualRun run_{3};  // any seed that does not close the service
  Evidence evidence_ = run_.run();
};

TEST_F(VerdictTest, AFutureThatNeverSettles) {
  evidence_.outcomes[last_call()].settled = false;
  expect_blame("never settles");
}

TEST_F(VerdictTest, AFailureWithoutACause) {
  evidence_.outcomes[last_call()].error.emplace(ErrorCode::kConnection, "why?");
  expect_blame("it fails");
}

TEST_F(VerdictTest, AResultOfAnotherCall) {
  evidence_.outcomes[last_call()].wrong = "the logprobs of another batch";
  expect_blame("a wrong result");
}

TEST_F(VerdictTest, AnEndlessRun) {
  evidence_.endless = true;
  expect_blame("never comes to rest");
}

TEST_F(VerdictTest, AnOperationThatIsCarriedOutTwice) {
  evidence_.operations.push_back(*of_model().back());
  expect_blame("carried out twice");
}

TEST_F(VerdictTest, ASuccessOfWhichAPartIsMissing) {
  std::erase_if(evidence_.operations,
                [last = of_model().back()->request_id](const Operation& operation) {
                  return operation.request_id == last;
                });
  expect_blame("of 1 requests are carried out");
}

TEST_F(VerdictTest, TwoOperationsInTheWrongOrder) {
  const auto operations = of_model();
  std::swap(*operations.front(), *operations.back());
  expect_blame("carried out after a later call");
}

TEST_F(VerdictTest, ABatchThatIsInterleaved) {
  // The last two of a model: the second chunk of a batch, and a step.
  auto operations = of_model();
  ASSERT_GE(operations.size(), 3u);
  std::swap(*operations[operations.size() - 2], *operations[operations.size() - 1]);
  expect_blame("does not follow the one before");
}

TEST_F(VerdictTest, AGapInTheSequenceIds) {
  of_model().back()->seq_id += 1;
  expect_blame("nothing is carried out under sequence id");
}

TEST_F(VerdictTest, ASendThatDoesNotWaitForTheAnswerBefore) {
  const auto all = sends();
  ASSERT_GE(all.size(), 2u);
  all[1]->began.order = all[0]->began.order;
  expect_blame("begins before the answer");
}

TEST_F(VerdictTest, AnIdThatIsUsedForAnotherRequest) {
  const auto all = sends();
  ASSERT_GE(all.size(), 2u);
  LoggedRequest copy = *all[all.size() - 1];
  const std::string last = std::to_string(of_model().back()->seq_id);
  copy.body.replace(copy.body.rfind(last), last.size(), "1");
  evidence_.log.push_back(copy);
  expect_blame("under two sequence ids");
}

TEST_F(VerdictTest, ARepeatWithOtherBytes) {
  LoggedRequest copy = *sends().back();
  ASSERT_EQ(copy.body.front(), '{');
  copy.body.insert(1, " ");
  copy.began.order = copy.replied.order + 1;
  evidence_.log.push_back(copy);
  expect_blame("a repeat has other bytes");
}

TEST_F(VerdictTest, ASilentRetryOfASample) {
  const auto is_sample = [](const auto& request) { return request.target == "/api/v1/asample"; };
  const auto sample = std::find_if(evidence_.log.rbegin(), evidence_.log.rend(), is_sample);
  ASSERT_NE(sample, evidence_.log.rend());
  const LoggedRequest copy = *sample;
  for (int i = 0; i < 16; ++i) evidence_.log.push_back(copy);
  expect_blame("a silent retry");
}

TEST_F(VerdictTest, AHotLoopOfPolls) {
  of_model().back()->polls = 50;
  expect_blame("50 polls where");
}

}  // namespace
}  // namespace tinkex::testing
