#include "torch_ext/local/request_target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tinkex::torch_ext::local {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

TEST(RequestTargetTest, AnythingMayStandBeforeTheRoot) {
  for (const char* target :
       {"/api/v1/healthz", "/services/tinker-prod/api/v1/healthz", "/api/v1/healthz?"}) {
    const auto parsed = parse_target(target);
    ASSERT_TRUE(parsed) << target;
    EXPECT_THAT(parsed->segments, ElementsAre("healthz"));
    EXPECT_TRUE(parsed->query.empty());
  }
}

TEST(RequestTargetTest, SegmentsAreDecodedAfterTheyAreCut) {
  const auto parsed = parse_target("/api/v1/samplers/s%3Asample%3A0%2Fx");
  ASSERT_TRUE(parsed);
  EXPECT_THAT(parsed->segments, ElementsAre("samplers", "s:sample:0/x"));
}

TEST(RequestTargetTest, QueryIsDecoded) {
  const auto parsed = parse_target("/api/v1/training_runs?limit=5&offset&a%20b=c%3D");
  ASSERT_TRUE(parsed);
  EXPECT_THAT(parsed->query,
              UnorderedElementsAre(Pair("limit", "5"), Pair("offset", ""), Pair("a b", "c=")));
}

TEST(RequestTargetTest, BrokenTargetsAreRefused) {
  for (const char* target : {"", "/", "/api/v1", "/healthz", "/api/v1/a%", "/api/v1/a%2",
                             "/api/v1/a%zz", "/api/v1/a%-1", "/api/v1/a?b=%"}) {
    EXPECT_FALSE(parse_target(target)) << target;
  }
}

TEST(RequestTargetTest, PatternsMatchWholePathsAndFillParameters) {
  TextMap parameters;
  EXPECT_TRUE(matches("training_runs/{run_id}/checkpoints", {"training_runs", "r:0", "checkpoints"},
                      parameters));
  EXPECT_THAT(parameters, ElementsAre(Pair("run_id", "r:0")));
  EXPECT_FALSE(matches("training_runs/{run_id}", {"training_runs"}, parameters));
  EXPECT_FALSE(matches("training_runs/{run_id}", {"training_runs", ""}, parameters));
  EXPECT_FALSE(matches("training_runs/{run_id}", {"training_runs", "r", "more"}, parameters));
  EXPECT_FALSE(matches("training_runs", {"training_run"}, parameters));
  EXPECT_FALSE(matches("healthz", {}, parameters));
}

}  // namespace
}  // namespace tinkex::torch_ext::local
