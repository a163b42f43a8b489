#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "examples/support/loss_curve.h"
#include "examples/support/progress.h"
#include "examples/support/report.h"
#include "examples/support/schedule.h"

namespace sft {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(ScheduleTest, RisesToThePeakAndFallsToATwentieth) {
  const Schedule schedule{0.01, 1000};
  EXPECT_DOUBLE_EQ(schedule.learning_rate(0), 0.01 / 50);
  EXPECT_DOUBLE_EQ(schedule.learning_rate(49), 0.01);
  EXPECT_DOUBLE_EQ(schedule.learning_rate(50), 0.01);
  EXPECT_NEAR(schedule.learning_rate(525), 0.01 * 0.525, 1e-12);
  EXPECT_NEAR(schedule.learning_rate(1000), 0.01 * 0.05, 1e-12);
  for (std::int64_t step = 50; step < 999; ++step) {
    EXPECT_GT(schedule.learning_rate(step), schedule.learning_rate(step + 1));
  }
}

TEST(ScheduleTest, ShortRunsHaveNoWarmUpToZero) {
  for (const std::int64_t steps : {1, 2, 3, 10, 20}) {
    for (std::int64_t step = 0; step < steps; ++step) {
      EXPECT_GT(Schedule({0.01, steps}).learning_rate(step), 0) << steps << " " << step;
      EXPECT_LE(Schedule({0.01, steps}).learning_rate(step), 0.01);
    }
  }
}

TEST(ScheduleTest, ARunIsSavedTenTimesOrAsAsked) {
  EXPECT_EQ(save_interval(0, 1000), 100);
  EXPECT_EQ(save_interval(0, 60), 6);
  EXPECT_EQ(save_interval(0, 8), 5);
  EXPECT_EQ(save_interval(3, 1000), 3);
}

TEST(FormatTest, DurationsAndCountsAreShort) {
  EXPECT_EQ(format_duration(0), "0:00");
  EXPECT_EQ(format_duration(65), "1:05");
  EXPECT_EQ(format_duration(7384), "2:03:04");
  EXPECT_EQ(format_duration(-3), "0:00");
  EXPECT_EQ(format_count(950), "950");
  EXPECT_EQ(format_count(15'230), "15.2k");
  EXPECT_EQ(format_count(3'400'000), "3.4M");
}

TEST(FormatTest, BarHasTheNumbersAndFitsTheTerminal) {
  const Progress progress{
      .step = 50, .steps = 200, .loss = 1.25, .tokens_per_second = 15'200, .seconds_left = 65};
  const std::string bar = format_bar(progress, 80);
  EXPECT_LE(bar.size(), 80u);
  EXPECT_THAT(bar, HasSubstr("step  50/200 ["));
  EXPECT_THAT(bar, HasSubstr("loss 1.2500  15.2k tokens/s  1:05 left"));
  EXPECT_EQ(std::count(bar.begin(), bar.end(), '='),
            (std::ptrdiff_t)(bar.find(']') - bar.find('[') - 1) / 4);
}

TEST(FormatTest, NarrowTerminalsGetTheNumbersAlone) {
  const Progress progress{.step = 1, .steps = 2, .loss = 1};
  EXPECT_THAT(format_bar(progress, 30), Not(HasSubstr("[")));
  EXPECT_THAT(format_line(progress), HasSubstr("step 1/2  loss 1.0000"));
}

TEST(ThroughputTest, TheTimeOfSavingDoesNotCount) {
  Throughput throughput;
  EXPECT_EQ(throughput.tokens_per_second(), 0);
  throughput.add(100, 1);  // A second for each step, ...
  throughput.add(100, 2);
  throughput.skip_to(9);  // ... and seven for one that waited for a save,
  throughput.add(100, 10);
  throughput.skip_to(11);  // and one for the record of it.
  throughput.add(100, 12);
  EXPECT_DOUBLE_EQ(throughput.tokens_per_second(), 100);
}

TEST(ProgressDisplayTest, AStepWithASaveIsShownButNotMeasured) {
  ::testing::internal::CaptureStdout();
  ProgressDisplay display(0, 3);
  display.show(1, 1, 0);
  display.show(2, 1, 1'000'000'000, /*with_a_save=*/true);
  display.saved();
  display.show(3, 1, 0);
  const std::string shown = ::testing::internal::GetCapturedStdout();
  EXPECT_THAT(shown, HasSubstr("step 2/3  loss 1.0000  0 tokens/s"));
  EXPECT_THAT(shown, HasSubstr("step 3/3  loss 1.0000  0 tokens/s"));
}

TEST(SamplingDisplayTest, LogsGetALineWheneverTheIntervalIsOver) {
  ::testing::internal::CaptureStdout();
  {
    SamplingDisplay patient(48);  // Ten seconds are not over yet.
    patient.show(3);
    SamplingDisplay display(48, std::chrono::milliseconds(0));
    display.show(12);
    display.show(47);
  }
  EXPECT_EQ(::testing::internal::GetCapturedStdout(),
            "Sampling 48 prompts ...\n"
            "Sampling 48 prompts ...\n"
            "Sampling 48 prompts ... 12 of 48 done after 0:00\n"
            "Sampling 48 prompts ... 47 of 48 done after 0:00\n");
}

TEST(ReportTest, TextIsShownOnOneLineAndCut) {
  EXPECT_EQ(show_text("a\nb\x01\xff", 20), "a\\nb??");
  EXPECT_EQ(show_text("\xe2\x82\xac ok", 20), "\xe2\x82\xac ok");
  EXPECT_EQ(show_text("abcdefghij", 10), "abcdefghij");
  EXPECT_EQ(show_text("abcdefghijk", 10), "abcdefg...");
  EXPECT_EQ(show_end("abcdefghij", 10), "abcdefghij");
  EXPECT_EQ(show_end("abcdefghijk", 10), "...efghijk");
  EXPECT_EQ(show_end("abcd\nfghijk", 10), "...fghijk");  // No half of a line's end,
  EXPECT_EQ(show_end("abcdefg\xe2\x82\xac"
                     "hij",
                     8),
            "...hij");  // or of a character.
}

TEST(ReportTest, ScoreCountsExactMatchesOnly) {
  const std::vector<Prompt> prompts = {{"a", "x"}, {"b", "y"}, {"c", "z"}, {"d", std::nullopt}};
  EXPECT_EQ(score(prompts, {"x", "Y", "z ", "?"}), "1 of 3 prompts exactly right (33 %)");
  EXPECT_EQ(score({{"d", std::nullopt}}, {"t"}), "1 prompt sampled");
}

TEST(ReportTest, ComparisonShowsSixPrompts) {
  std::vector<Prompt> prompts;
  std::vector<std::string> before;
  for (int i = 0; i < 8; ++i) {
    prompts.push_back({"prompt" + std::to_string(i), "right"});
    before.push_back("wrong");
  }
  const std::string table = compare(prompts, {"before", before}, {"after", before});
  EXPECT_TRUE(table.starts_with("  prompt                  before                  after  "));
  EXPECT_THAT(table, HasSubstr("prompt5"));
  EXPECT_THAT(table, Not(HasSubstr("prompt6")));
  prompts[7].expected = std::nullopt;
  EXPECT_THAT(compare(prompts, {"before", before}, {"after", before}),
              HasSubstr("  prompt:   prompt0\n  before:   wrong\n  after:    wrong\n"));
  EXPECT_THAT(compare(prompts, {"step 12345", before}, {"after", before}),
              HasSubstr("  prompt:     prompt0\n  step 12345: wrong\n  after:      wrong\n"));
}

TEST(ReportTest, OfALongPromptTheQuestionIsShownOrElseTheEnd) {
  std::vector<Prompt> prompts = {{std::string(500, 'x') + "why?", std::nullopt}};
  EXPECT_THAT(compare(prompts, {}, {}), HasSubstr("xxwhy?\n"));
  prompts[0].shown = "the question";
  EXPECT_THAT(compare(prompts, {}, {}), HasSubstr("  prompt:   the question\n"));
}

TEST(LossCurveTest, DrawsEveryStepWithAxesAndLabels) {
  std::vector<LossPoint> losses;
  for (std::int64_t step = 1; step <= 100; ++step) losses.push_back({step, 5.0 / double(step)});
  const std::string svg = draw_loss_curve(losses, "a < b & c");
  EXPECT_TRUE(svg.starts_with("<svg "));
  EXPECT_TRUE(svg.ends_with("</svg>\n"));
  EXPECT_THAT(svg, HasSubstr("a &lt; b &amp; c"));
  EXPECT_THAT(svg, HasSubstr(">step</text>"));
  EXPECT_THAT(svg, HasSubstr(">loss per weighted token</text>"));
  EXPECT_THAT(svg, HasSubstr("loss 5 at step 1, 0.05 at step 100"));
  const std::size_t begin = svg.find("points=\"");
  const std::string points = svg.substr(begin, svg.find('"', begin + 8) - begin);
  EXPECT_EQ(std::count(points.begin(), points.end(), ','), 100);
}

std::string curve_of(std::int64_t steps) {
  std::vector<LossPoint> losses;
  for (std::int64_t step = 1; step <= steps; ++step) losses.push_back({step, 1.0});
  return draw_loss_curve(losses, "");
}

std::size_t lines_in(const std::string& svg) {
  std::size_t lines = 0;
  for (std::size_t at = 0; (at = svg.find("<polyline", at)) != std::string::npos; ++at) ++lines;
  return lines;
}

TEST(LossCurveTest, TheLegendSaysWhatIsDrawn) {
  const std::string one = curve_of(1);
  EXPECT_THAT(one, HasSubstr(">loss 1 at step 1</text>"));
  EXPECT_THAT(one, HasSubstr("<circle "));
  EXPECT_EQ(lines_in(one), 0u);
  const std::string few = curve_of(59);
  EXPECT_THAT(few, HasSubstr("1 at step 59; each step</text>"));
  EXPECT_EQ(lines_in(few), 1u);
  const std::string many = curve_of(60);
  EXPECT_THAT(many, HasSubstr("; light: each step, dark: moving average</text>"));
  EXPECT_EQ(lines_in(many), 2u);
  EXPECT_THAT(curve_of(4000), HasSubstr("; light: means of 3 steps, dark: moving average</text>"));
}

TEST(LossCurveTest, LongRunsStaySmallAndOddInputIsDrawn) {
  std::vector<LossPoint> losses;
  for (std::int64_t step = 1; step <= 100'000; ++step) losses.push_back({step, 1.0});
  EXPECT_LT(draw_loss_curve(losses, "").size(), 200'000u);
  for (const std::vector<LossPoint>& odd : std::vector<std::vector<LossPoint>>{
           {}, {{1, 0.0}}, {{1, std::nan("")}}, {{5, 2.0}, {6, INFINITY}, {7, 1e-9}}}) {
    const std::string svg = draw_loss_curve(odd, "");
    EXPECT_TRUE(svg.ends_with("</svg>\n"));
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    EXPECT_THAT(svg, Not(HasSubstr("inf")));
  }
}

}  // namespace
}  // namespace sft
