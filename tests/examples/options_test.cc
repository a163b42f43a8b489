#include "examples/support/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace sft {
namespace {

using ::testing::HasSubstr;

ParsedOptions parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "sft");
  return parse_options(static_cast<int>(arguments.size()), arguments.data());
}

/// What a refused command line says.
std::string complaints(std::vector<const char*> arguments) {
  ::testing::internal::CaptureStderr();
  const ParsedOptions parsed = parse(std::move(arguments));
  std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_FALSE(parsed.options.has_value());
  EXPECT_EQ(parsed.exit_code, 2);
  return text;
}

/// The same of one that has one flaw.
std::string complaint(std::vector<const char*> arguments) {
  std::string text = complaints(std::move(arguments));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  return text;
}

TEST(OptionsTest, NothingGivenIsNothingSet) {
  const ParsedOptions parsed = parse({});
  ASSERT_TRUE(parsed.options.has_value());
  EXPECT_FALSE(parsed.options->steps || parsed.options->learning_rate || parsed.options->out);
}

TEST(OptionsTest, TheHelpTellsTheExitCodeOfALearningRateThatRuinsTheModel) {
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(parse({"--help"}).exit_code, 0);
  EXPECT_THAT(::testing::internal::GetCapturedStdout(),
              HasSubstr("2 wrong arguments or a --learning-rate that ruins the model"));
}

TEST(OptionsTest, ValuesArrive) {
  const ParsedOptions parsed = parse({"--steps",
                                      "7",
                                      "--learning-rate=5e-3",
                                      "--rank",
                                      "4",
                                      "--base-model",
                                      "m",
                                      "--seed",
                                      "0",
                                      "--threads",
                                      "2",
                                      "--batch-size",
                                      "3",
                                      "--data",
                                      "d.txt",
                                      "--out",
                                      "o",
                                      "--base-url",
                                      "http://h",
                                      "--tokenizer",
                                      "bytes",
                                      "--stop-after",
                                      "2"});
  ASSERT_TRUE(parsed.options.has_value());
  const Options& options = *parsed.options;
  EXPECT_EQ(options.steps, 7);
  EXPECT_EQ(options.learning_rate, 5e-3);
  EXPECT_EQ(options.rank, 4);
  EXPECT_EQ(options.base_model, "m");
  EXPECT_EQ(options.seed, 0);
  EXPECT_EQ(options.threads, 2);
  EXPECT_EQ(options.batch_size, 3);
  EXPECT_EQ(options.stop_after, 2);
}

TEST(OptionsTest, AZeroAtTheFrontChangesNothing) {
  const ParsedOptions parsed = parse({"--steps", "0100", "--rank", "08", "--threads", "010"});
  ASSERT_TRUE(parsed.options.has_value());
  EXPECT_EQ(parsed.options->steps, 100);
  EXPECT_EQ(parsed.options->rank, 8);
  EXPECT_EQ(parsed.options->threads, 10);
}

TEST(OptionsTest, BadValuesAreNamedWithTheRemedy) {
  for (const char* bad : {"abc", "nan", "inf", "-1", "0", "1e999", "1x", ""}) {
    EXPECT_THAT(complaint({"--learning-rate", bad}),
                HasSubstr("'" + std::string(bad) + "' is not a positive number; give one"));
  }
  EXPECT_THAT(complaint({"--rank", "0"}), HasSubstr("--rank: '0' is not a whole number from 1"));
  EXPECT_THAT(complaint({"--batch-size", "0"}), HasSubstr("at least one example"));
  EXPECT_THAT(complaint({"--steps", "1.5"}), HasSubstr("'1.5'"));
  EXPECT_THAT(complaint({"--steps", "99999999999999999999"}), HasSubstr("--steps"));
  EXPECT_THAT(complaint({"--seed", "-1"}), HasSubstr("'-1'"));
  EXPECT_THAT(complaint({"--tokenizer", "bpe"}),
              HasSubstr("give a tokenizer.json, a model or bytes"));
  EXPECT_THAT(complaint({"--data", ""}), HasSubstr("--data"));
  EXPECT_THAT(complaint({"--dtype", "int8"}),
              HasSubstr("--dtype: 'int8' is none of its values; give one of: float32, bfloat16"));
  EXPECT_THAT(complaint({"--base-url", "me:secret@nonsense"}),
              HasSubstr("--base-url: 'nonsense' does not begin with http:// or https://; give"));
}

TEST(OptionsTest, AMisspeltOptionIsNamedWithoutItsValue) {
  EXPECT_EQ(complaint({"--stepz", "3"}),
            "sft: --stepz: there is no such option; did you mean --steps? (sft --help lists the "
            "options)\n");
  EXPECT_THAT(complaint({"--learning_rate=5"}),
              HasSubstr("sft: --learning_rate: there is no such option; did you mean "
                        "--learning-rate?"));
  EXPECT_THAT(complaint({"--nothing-like-it"}),
              HasSubstr("sft: --nothing-like-it: there is no such option (sft"));
  EXPECT_THAT(complaint({"--steps", "3", "notes.txt"}),
              HasSubstr("sft: argument 3 (length 9) belongs to no option (sft"));
}

TEST(OptionsTest, AllThatIsWrongIsSaidAtOnce) {
  EXPECT_EQ(complaints({"--rank", "0", "--loss", "cros_entropy", "--resume", "d", "--seed", "x",
                        "--out", "o"}),
            "sft: --loss: there is no such option\n"
            "sft: --rank: '0' is not a whole number from 1 to 2147483647; adapters need a rank of "
            "at least 1\n"
            "sft: --seed: 'x' is not a whole number from 0 to 2147483647; seeds are not negative\n"
            "sft: --out excludes --resume\n"
            "sft: --rank, --base-model, --dtype and --seed belong to the run in d; leave them out "
            "with --resume (sft --help lists the options)\n");
}

TEST(OptionsTest, WhatDoesNotGoTogetherIsRefused) {
  EXPECT_THAT(complaint({"--no-such"}), HasSubstr("--no-such"));
  EXPECT_THAT(complaint({"--resume", "d", "--out", "o"}), HasSubstr("--out"));
  EXPECT_THAT(complaint({"--resume", "d", "--rank", "4"}), HasSubstr("leave them out"));
}

TEST(OptionsTest, HelpIsNoFailure) {
  ::testing::internal::CaptureStdout();
  const ParsedOptions parsed = parse({"--help"});
  EXPECT_THAT(::testing::internal::GetCapturedStdout(), HasSubstr("--learning-rate"));
  EXPECT_FALSE(parsed.options.has_value());
  EXPECT_EQ(parsed.exit_code, 0);
}

TEST(OptionsTest, ExitCodeTellsUsageFromFailure) {
  EXPECT_EQ(exit_code_of(tinkex::invalid_argument("x")), kUsageError);
  EXPECT_EQ(exit_code_of(tinkex::Error(tinkex::ErrorCode::kIo, "x")), kFailure);
  EXPECT_EQ(exit_code_of(tinkex::Error(tinkex::ErrorCode::kRequestFailed, "x")
                             .with_category(tinkex::ErrorCategory::kUser)),
            kUsageError);
}

}  // namespace
}  // namespace sft
