#include "torch_ext/local/losses.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace tinkex::torch_ext::local {
namespace {

using ::testing::HasSubstr;

struct Rows {
  std::vector<double> p, q, a;
};

double total(const char* name, const Rows& rows, const LossConfig& config = {}) {
  const LossSpec spec = parse_loss(name, config).value();
  double sum = 0;
  for (std::size_t i = 0; i < rows.p.size(); ++i) {
    const double q = rows.q.empty() ? 0 : rows.q[i];
    sum +=
        token_loss(spec.kind, spec.beta, rows.p[i], {rows.a[i], q, spec.clip_low, spec.clip_high})
            .loss;
  }
  return sum;
}

const Rows kPolicyRows{{-0.2, -0.5, -0.4}, {-0.1, -0.4, -0.2}, {1, -1, 0.5}};

TEST(LossesTest, CrossEntropySumsAsPublished) {
  EXPECT_NEAR(total("cross_entropy", {{-0.2, -0.5, -0.3}, {}, {1, 1, 1}}), 1.0, 1e-12);
}

TEST(LossesTest, ImportanceSamplingSumsAsPublished) {
  EXPECT_NEAR(total("importance_sampling", {{-0.1, -0.4, -0.5}, {-0.2, -0.5, -0.25}, {1, -1, 0.5}}),
              -0.3894004, 1e-7);
}

TEST(LossesTest, PpoSumsAsPublished) { EXPECT_NEAR(total("ppo", kPolicyRows), -0.4093653, 1e-7); }

TEST(LossesTest, CispoSumsAsDerived) {
  const double expected = -(-0.2 * std::exp(-0.1) + 0.5 * std::exp(-0.1) - 0.2 * std::exp(-0.2));
  EXPECT_NEAR(total("cispo", kPolicyRows), expected, 1e-12);
}

TEST(LossesTest, DroSumsAsDerived) {
  EXPECT_NEAR(total("dro", kPolicyRows, {{"beta", 0.05}}), -0.0985, 1e-9);
}

TEST(LossesTest, PpoKeepsOnlyTheGradientThatItsTableNames) {
  const auto gradient = [](double ratio, double a) {
    return token_loss(LossKind::kPpo, 0, std::log(ratio), {a, 0, 0.8, 1.2}).gradient;
  };
  EXPECT_EQ(gradient(1.5, 1), 0);
  EXPECT_EQ(gradient(0.5, -1), 0);
  EXPECT_NEAR(gradient(0.5, 1), -0.5, 1e-12);
  EXPECT_NEAR(gradient(1.5, -1), 1.5, 1e-12);
  EXPECT_NEAR(gradient(1.1, 1), -1.1, 1e-12);
}

TEST(LossesTest, GradientIsTheDerivativeOfTheLoss) {
  const double h = 1e-6;
  for (const LossKind kind :
       {LossKind::kCrossEntropy, LossKind::kImportanceSampling, LossKind::kPpo, LossKind::kDro}) {
    for (const double p : {-3.0, -1.05, -0.4}) {
      for (const double a : {-2.0, 0.5}) {
        const TokenInputs in{a, -1.0, 0.8, 1.2};
        const double slope =
            (token_loss(kind, 0.05, p + h, in).loss - token_loss(kind, 0.05, p - h, in).loss) /
            (2 * h);
        EXPECT_NEAR(token_loss(kind, 0.05, p, in).gradient, slope, 1e-7)
            << "kind " << static_cast<int>(kind) << " p " << p << " a " << a;
      }
    }
  }
}

TEST(LossesTest, CispoTreatsItsRatioAsAConstant) {
  const TokenInputs in{2.0, -1.0, 0.0, 4.0};
  EXPECT_NEAR(token_loss(LossKind::kCispo, 0, -0.5, in).gradient, -2.0 * std::exp(0.5), 1e-12);
  EXPECT_NEAR(token_loss(LossKind::kCispo, 0, 5.0, in).gradient, -2.0 * 4.0, 1e-12);
}

TEST(LossesTest, OverflowingRatioIsNotFinite) {
  const TokenInputs in{1.0, -100.0, 0.8, 1.2};
  EXPECT_FALSE(std::isfinite(token_loss(LossKind::kPpo, 0, -0.1, in).loss));
  EXPECT_FALSE(std::isfinite(token_loss(LossKind::kImportanceSampling, 0, -0.1, in).gradient));
}

TEST(LossesTest, UnknownLossIsRefusedWithTheKnownOnes) {
  const Result<LossSpec> spec = parse_loss("hinge", {});
  ASSERT_FALSE(spec);
  EXPECT_EQ(spec.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(spec.error().category(), ErrorCategory::kUser);
  EXPECT_THAT(spec.error().message(),
              HasSubstr("'hinge'; this server has cross_entropy, importance_sampling, ppo"));
}

TEST(LossesTest, SettingsAreReadAndWrongOnesRefused) {
  EXPECT_EQ(parse_loss("ppo", {{"clip_high_threshold", 1.5}})->clip_high, 1.5);
  EXPECT_EQ(parse_loss("dro", {{"beta", std::string("0.25")}})->beta, 0.25);
  const auto message = [](const char* loss, const LossConfig& config) {
    const Result<LossSpec> spec = parse_loss(loss, config);
    return spec ? std::string() : spec.error().message();
  };
  EXPECT_THAT(message("cross_entropy", {{"beta", 1.0}}), HasSubstr("unknown setting 'beta'"));
  EXPECT_THAT(message("ppo", {{"clip", 1.0}}),
              HasSubstr("clip_low_threshold, clip_high_threshold and temperature"));
  EXPECT_THAT(message("dro", {{"beta", std::string("much")}}), HasSubstr("beta is 'much'"));
  EXPECT_THAT(message("dro", {{"beta", NAN}}), HasSubstr("expected a number"));
  EXPECT_THAT(message("ppo", {{"clip_low_threshold", 2.0}}), HasSubstr("is above"));
}

}  // namespace
}  // namespace tinkex::torch_ext::local
