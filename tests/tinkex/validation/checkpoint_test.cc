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
  for (const char* path : {"",
                           "r/weights/x",
                           "http://r/weights/x",
                           "tinker://",
                           "tinker://r",
                           "tinker://r/weights",
                           "tinker://r/weights/",
                           "tinker:///weights/x",
                           "tinker://r/weights/x/",
                           "tinker://r/weights/x/y",
                           "tinker://r/other/x",
                           "TINKER://r/weights/x",
                           "tinker://r/weights/x\n",
                           "tinker://\xff/weights/x",
                           "tinker://r/weights/\x7f",
                           "tinker://r//x",
                           "tinker://r/weights/..",
                           "tinker://r/weights/.",
                           "tinker://../weights/x",
                           "tinker://./weights/x"}) {
    EXPECT_FALSE(validate_checkpoint_path(path, CheckpointKind::kTraining).ok()) << path;
    EXPECT_FALSE(validate_checkpoint_path(path).ok()) << path;
  }
  EXPECT_TRUE(validate_checkpoint_path("tinker://r.1/weights/..x", CheckpointKind::kTraining).ok());
  const std::string start = "tinker://r/weights/";
  EXPECT_TRUE(validate_checkpoint_path(start + std::string(4'096 - start.size(), 'x'),
                                       CheckpointKind::kTraining)
                  .ok());
  EXPECT_EQ(validate_checkpoint_path(start + std::string(4'097 - start.size(), 'x'),
                                     CheckpointKind::kTraining)
                .error()
                .message(),
            "checkpoint path: expected tinker://<run>/weights/<name> in printable UTF-8, at most "
            "4096 bytes, got 4097 bytes; use the path that save_state returned");
}

TEST(TinkerPathTest, WhatMayBeDeletedIsOfEitherKindAndAlsoOfTwoParts) {
  for (const char* path : {"tinker://r/weights/x", "tinker://r/sampler_weights/x",
                           "tinker://mdl_1/checkpoints/x", "tinker://model_1/x"}) {
    EXPECT_TRUE(validate_checkpoint_path(path).ok()) << path;
  }
  for (const char* path : {"tinker://r/", "tinker://r/..", "tinker://../x", "tinker://./x",
                           "tinker://r/sampler_weights", "tinker://r/checkpoints", "r/x"}) {
    EXPECT_FALSE(validate_checkpoint_path(path).ok()) << path;
  }
  EXPECT_EQ(validate_checkpoint_path("tinker://r/other/x").error().message(),
            "checkpoint path: expected tinker://<run>/weights/<name>, "
            "tinker://<run>/sampler_weights/<name> or, of a server that has samplers there, "
            "tinker://<run>/<name>, in printable UTF-8, at most 4096 bytes, got "
            "'tinker://r/other/x'; use the path that save_state or save_weights_for_sampler "
            "returned");
}

TEST(ModelPathTest, EveryServersPathsPassButNoTrainingCheckpoint) {
  for (const char* path : {"tinker://r/sampler_weights/x", "tinker://model_1/step-1", "tinker://r",
                           "tinker://s:train:0/sampler_weights/0001"}) {
    EXPECT_TRUE(validate_model_path(path).ok()) << path;
  }
  for (const char* path : {"", "r/sampler_weights/x", "http://r/x", "tinker://r/weights/x",
                           "tinker://r/checkpoints/x", "tinker://r/a\tb", "tinker://\xc3"}) {
    EXPECT_FALSE(validate_model_path(path).ok()) << path;
  }
  EXPECT_EQ(validate_model_path("tinker://r/weights/x").error().message(),
            "model_path: expected tinker://<run>/sampler_weights/<name>, got "
            "'tinker://r/weights/x'; this one was made by save_state; use the path that "
            "save_weights_for_sampler returned");
}

TEST(BaseModelTest, OnlyPrintableNamesPass) {
  for (const char* name : {"tinkex/tiny", "/models/my model", "Qwen/Qwen3-8B", "\u540d"}) {
    EXPECT_TRUE(validate_base_model(name).ok()) << name;
  }
  for (const char* name : {"", "a\nb", "\xff\xfe", "a\x1b[2J"}) {
    EXPECT_FALSE(validate_base_model(name).ok()) << name;
  }
  EXPECT_EQ(validate_base_model("").error().message(),
            "base_model: expected a name of printable UTF-8, at most 4096 bytes, got an empty "
            "text; get_supported_models lists the names");
}

}  // namespace
}  // namespace tinkex
