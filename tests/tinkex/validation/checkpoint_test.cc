#include "tinkex/validate.h"

#include <gtest/gtest.h>

#include <string>

namespace tinkex {
namespace {

TEST(CheckpointNameTest, OnlySafeNamesPass) {
  EXPECT_TRUE(validate_checkpoint_name("step-100_final.v2").ok());
  EXPECT_TRUE(validate_checkpoint_name("0001").ok());
  EXPECT_TRUE(validate_checkpoint_name(std::string(128, 'a')).ok());
  for (const std::string name :
       {"", ".", "..", "a/b", "a b", "a\n", "ä", "a:b", "../x", ".x", ".hidden"}) {
    EXPECT_FALSE(validate_checkpoint_name(name).ok()) << name;
  }
  EXPECT_FALSE(validate_checkpoint_name(std::string(129, 'a')).ok());
  EXPECT_FALSE(validate_checkpoint_name(std::string_view("a\0b", 3)).ok());
}

TEST(CheckpointNameTest, TheErrorShowsTheNameAndWhatIsAllowed) {
  EXPECT_EQ(
      validate_checkpoint_name("a/b").error().message(),
      "checkpoint name: expected 1 to 128 characters of A-Z a-z 0-9 _ . -, the first not a dot, "
      "got 'a/b' (3 bytes); choose a name such as 'step-100'");
}

TEST(TinkerPathTest, BothKindsPassWhereTheyBelong) {
  EXPECT_TRUE(
      validate_checkpoint_path("tinker://s:train:0/weights/0001", CheckpointKind::kTraining).ok());
  EXPECT_TRUE(
      validate_checkpoint_path("tinker://r/sampler_weights/x", CheckpointKind::kSampler).ok());
}

TEST(TinkerPathTest, ATrainingCheckpointMayHaveTheNameThatHatcheryGivesIt) {
  EXPECT_TRUE(
      validate_checkpoint_path("tinker://mdl_1/checkpoints/w", CheckpointKind::kTraining).ok());
  EXPECT_FALSE(
      validate_checkpoint_path("tinker://mdl_1/checkpoints/w", CheckpointKind::kSampler).ok());
}

TEST(TinkerPathTest, TheOtherKindSaysWhichCallMakesTheRightOne) {
  EXPECT_EQ(validate_checkpoint_path("tinker://r/sampler_weights/x", CheckpointKind::kTraining)
                .error()
                .message(),
            "checkpoint path: expected tinker://<run>/weights/<name>, got "
            "'tinker://r/sampler_weights/x'; "
            "this one was made by save_weights_for_sampler; use the path that save_state returned");
  EXPECT_FALSE(validate_checkpoint_path("tinker://r/weights/x", CheckpointKind::kSampler).ok());
}

TEST(TinkerPathTest, MalformedPathsAreRefused) {
  for (const char* path :
       {"", "r/weights/x", "http://r/weights/x", "tinker://", "tinker://r", "tinker://r/weights",
        "tinker://r/weights/", "tinker:///weights/x", "tinker://r/weights/x/",
        "tinker://r/weights/x/y", "tinker://r/other/x", "TINKER://r/weights/x"}) {
    EXPECT_FALSE(validate_checkpoint_path(path, CheckpointKind::kTraining).ok()) << path;
  }
}

}  // namespace
}  // namespace tinkex
