// Losses of the user's over whole logits: values, gradients, and what is refused.

#include "torch_ext/local/own_loss.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/api/module.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "tests/torch_ext/local/engine_testing.h"
#include "torch_ext/logits_loss.h"

namespace tinkex::torch_ext::local::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr at::ScalarType kDouble = at::ScalarType::Double;
constexpr at::ScalarType kFloat = at::ScalarType::Float;
constexpr char kOwn[] = "own";

/// For one or several targets per position.
at::Tensor cross_entropy(const at::Tensor& logits, const LossInputs& inputs) {
  const at::Tensor targets = inputs["target_tokens"].view({logits.size(0), -1});
  const at::Tensor p = at::log_softmax(logits, -1).gather(1, targets);
  return -(p * inputs["weights"].view({logits.size(0), -1})).sum();
}

/// Wide distributions are cheaper.
at::Tensor entropy_bonus(const at::Tensor& logits, const LossInputs& inputs) {
  const at::Tensor p = at::log_softmax(logits, -1);
  const at::Tensor entropy = -(p.exp() * p).sum(-1);
  return cross_entropy(logits, inputs) - 0.3 * (inputs["weights"] * entropy).sum();
}

/// The second largest logit should stay a margin below the largest.
at::Tensor top_two_margin(const at::Tensor& logits, const LossInputs& inputs) {
  const double margin = std::get<double>(inputs.settings.at("margin"));
  const at::Tensor top = std::get<0>(logits.topk(2, -1));
  return (at::softplus(margin - top.select(1, 0) + top.select(1, 1))).sum();
}

constexpr char kMarginModule[] = R"(
def forward(self, logits, inputs: Dict[str, Tensor], margin: float):
    top = torch.topk(logits, 2, -1)[0]
    return torch.softplus(margin - top[:, 0] + top[:, 1]).sum()
)";
constexpr char kCrossEntropyModule[] = R"(
def forward(self, logits, inputs: Dict[str, Tensor]):
    p = torch.gather(torch.log_softmax(logits, -1), 1, inputs["target_tokens"].unsqueeze(1))
    assert inputs["tokens"].size(0) == logits.size(0)
    return -(p.squeeze(1) * inputs["weights"]).sum()
)";

torch::jit::Module module_of(const std::string& source) {
  torch::jit::Module module("loss");
  module.define(source);
  return module;
}

class OwnLossTest : public ::testing::Test {
 protected:
  PassOutput run(const BaseModel& model, const Adapter& adapter, const LogitsLoss& loss,
                 const PassOptions& options = {}, bool with_gradient = true) const {
    return pass(model, adapter, data_, kOwn, with_gradient, settings_, options, {{kOwn, loss}});
  }

  static void expect_same(const PassOutput& ours, const PassOutput& theirs, double tolerance) {
    EXPECT_NEAR(ours.loss, theirs.loss, tolerance * std::abs(theirs.loss));
    EXPECT_LT(largest_gap(ours.logprobs, theirs.logprobs), std::max(tolerance, 2e-6));
    EXPECT_LT(relative_error(ours.gradient, theirs.gradient), tolerance);
  }

  void expect_central_differences(const LogitsLoss& loss) const {
    const at::Tensor gradient = run(*model_, *adapter_, loss).gradient;
    const double h = 1e-5;
    const auto loss_at = [&](std::int64_t index, double step) {
      at::Tensor flat = adapter_->flat().clone();
      flat.mutable_data_ptr<double>()[index] += step;
      const auto moved = Adapter::from_flat(adapter_->shared_layout(), flat);
      return run(*model_, *moved, loss, {}, false).loss;
    };
    for (const LoraMatrix& matrix : adapter_->layout().matrices()) {
      for (const std::int64_t pick : random_tokens(4, matrix.rows * matrix.cols, 6)) {
        const std::int64_t index = matrix.offset + pick;
        const double slope = (loss_at(index, h) - loss_at(index, -h)) / (2 * h);
        const double ours = gradient.const_data_ptr<double>()[index];
        EXPECT_LT(std::abs(slope - ours), 1e-6 * (std::abs(slope) + std::abs(ours)) + 1e-8)
            << matrix.name << "[" << pick << "]: " << ours << " against " << slope;
      }
    }
  }

  const std::shared_ptr<const BaseModel> model_ = small_model(kDouble);
  const std::shared_ptr<const Adapter> adapter_ = noisy_adapter(*model_, rank(4), 5);
  std::vector<Datum> data_ = cross_entropy_batch(model_->config().vocab_size, 3);
  LossConfig settings_;
  const std::vector<PassOptions> cuts_{{1, 1}, {20, 1}, {4096, 1}, {10, 3}};
};

TEST_F(OwnLossTest, CrossEntropyWrittenOutIsTheBuiltInOne) {
  const PassOutput built_in = pass(*model_, *adapter_, data_);
  for (const PassOptions& cut : cuts_) {
    expect_same(run(*model_, *adapter_, cross_entropy, cut), built_in, 1e-10);
  }
}

TEST_F(OwnLossTest, CrossEntropyWrittenOutIsTheBuiltInOneInFloat32) {
  const auto model = small_model(kFloat);
  const auto adapter = Adapter::from_flat(adapter_->shared_layout(), adapter_->flat().to(kFloat));
  const PassOutput built_in = pass(*model, *adapter, data_);
  for (const PassOptions& cut : cuts_) {
    expect_same(run(*model, *adapter, cross_entropy, cut), built_in, 1e-4);
  }
}

TEST_F(OwnLossTest, CrossEntropyWrittenOutIsTheBuiltInOneOnBfloat16Weights) {
  const auto model =
      model_of(small_config(), random_weights(small_config(), 1), at::ScalarType::BFloat16);
  const auto adapter = Adapter::from_flat(adapter_->shared_layout(), adapter_->flat().to(kFloat));
  expect_same(run(*model, *adapter, cross_entropy), pass(*model, *adapter, data_), 1e-4);
}

TEST_F(OwnLossTest, EveryCombinationOfTrainFlagsHasTheBuiltInGradient) {
  for (int flags = 1; flags < 8; ++flags) {
    LoraConfig lora = rank(3);
    lora.train_attn = (flags & 1) != 0;
    lora.train_mlp = (flags & 2) != 0;
    lora.train_unembed = (flags & 4) != 0;
    const auto adapter = noisy_adapter(*model_, lora, 10);
    expect_same(run(*model_, *adapter, cross_entropy), pass(*model_, *adapter, data_), 1e-10);
  }
}

TEST_F(OwnLossTest, SeveralTargetsPerPositionHaveTheirLogprobs) {
  const std::int64_t vocab = model_->config().vocab_size;
  Datum datum;
  datum.model_input = ModelInput::from_tokens(random_tokens(70, vocab, 12));  // More than a chunk.
  datum.loss_fn_inputs.emplace_back("target_tokens",
                                    TensorData::from(random_tokens(210, vocab, 13), {70, 3}));
  datum.loss_fn_inputs.emplace_back("weights",
                                    TensorData::from(random_floats(210, -1, 1, 14), {70, 3}));
  ModelConfig config = small_config();
  config.max_position_embeddings = 100;
  const auto model = model_of(config, random_weights(config, 1), kDouble);
  data_.push_back(datum);
  expect_same(run(*model, *adapter_, cross_entropy), pass(*model, *adapter_, data_), 1e-10);
}

TEST_F(OwnLossTest, EntropyBonusAgreesWithCentralDifferences) {
  expect_central_differences(entropy_bonus);
}

TEST_F(OwnLossTest, MarginOfTheTwoLargestLogitsAgreesWithCentralDifferences) {
  settings_ = {{"margin", 1.5}};
  expect_central_differences(top_two_margin);
}

TEST_F(OwnLossTest, TorchScriptModuleGivesWhatTheFunctionGives) {
  const LogitsLoss module = module_loss(module_of(kCrossEntropyModule)).value();
  const PassOutput function = run(*model_, *adapter_, cross_entropy);
  for (int round = 0; round < 3; ++round) {  // TorchScript compiles after it has seen calls.
    for (const PassOptions& cut : cuts_) {
      expect_same(run(*model_, *adapter_, module, cut), function, 1e-10);
    }
  }
}

TEST_F(OwnLossTest, SettingsAreTheFurtherArgumentsOfAModule) {
  settings_ = {{"margin", 0.7}};
  const LogitsLoss module = module_loss(module_of(kMarginModule)).value();
  expect_same(run(*model_, *adapter_, module), run(*model_, *adapter_, top_two_margin), 1e-10);
}

TEST_F(OwnLossTest, ForwardPassGivesTheSameLossAndNoGradient) {
  bool required = false;
  const LogitsLoss watching = [&](const at::Tensor& logits, const LossInputs& inputs) {
    required = required || logits.requires_grad();
    return cross_entropy(logits, inputs);
  };
  const PassOutput forward = run(*model_, *adapter_, watching, {}, false);
  EXPECT_FALSE(required);
  EXPECT_FALSE(forward.gradient.defined());
  const PassOutput backward = run(*model_, *adapter_, watching);
  EXPECT_TRUE(required);
  EXPECT_EQ(forward.loss, backward.loss);
  EXPECT_EQ(forward.logprobs, backward.logprobs);
}

TEST_F(OwnLossTest, DatumsWhoseGradientIsZeroAreTrainedOnWithoutEffect) {
  const LogitsLoss nothing = [](const at::Tensor& logits, const LossInputs&) {
    return logits.sum() * 0 + 2;
  };
  const PassOutput output = run(*model_, *adapter_, nothing);
  EXPECT_DOUBLE_EQ(output.loss, 2.0 * static_cast<double>(data_.size()));
  EXPECT_EQ(output.gradient.norm().item<double>(), 0);
}

TEST_F(OwnLossTest, GradientsOfAnyLayoutAreTaken) {
  const LogitsLoss expanded = [](const at::Tensor& logits, const LossInputs&) {
    return logits.sum().view({1});
  };
  const LogitsLoss plain = [](const at::Tensor& logits, const LossInputs&) {
    return (logits * at::ones_like(logits)).sum();
  };
  const LogitsLoss sparse = [](const at::Tensor& logits, const LossInputs& inputs) {
    return logits.gather(1, inputs["target_tokens"].unsqueeze(1), true).sum();
  };
  const LogitsLoss dense = [](const at::Tensor& logits, const LossInputs& inputs) {
    return logits.gather(1, inputs["target_tokens"].unsqueeze(1)).sum();
  };
  expect_same(run(*model_, *adapter_, expanded), run(*model_, *adapter_, plain), 1e-10);
  expect_same(run(*model_, *adapter_, sparse), run(*model_, *adapter_, dense), 1e-10);
}

/// On a run, whose accumulated gradient must survive every failure.
class OwnLossOfARunTest : public OwnLossTest {
 protected:
  OwnLossOfARunTest() { (void)train(cross_entropy).value(); }

  Result<ForwardBackwardOutput> train(const LogitsLoss& loss, bool forward_only = false) {
    return run_->forward_backward(data_, kOwn, settings_, forward_only, nullptr, {{kOwn, loss}});
  }

  std::string refusal(const LogitsLoss& loss) {
    const at::Tensor before = run_->accumulated_gradient().clone();
    const auto result = train(loss);
    EXPECT_TRUE(bit_equal(run_->accumulated_gradient(), before));
    if (result) return "accepted";
    EXPECT_EQ(result.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(result.error().category(), ErrorCategory::kUser);
    return result.error().message();
  }

  /// A loss that goes wrong on the datum of 12 tokens, which is number 6.
  static LogitsLoss wrong(LogitsLoss what) {
    return [what = std::move(what)](const at::Tensor& logits, const LossInputs& inputs) {
      return logits.size(0) == 12 ? what(logits, inputs) : cross_entropy(logits, inputs);
    };
  }

  const std::unique_ptr<TrainingRun> run_ =
      TrainingRun::create(small_model(kFloat), rank(4)).value();
};

TEST_F(OwnLossOfARunTest, WhatAFunctionThrowsNamesTheLossAndTheDatum) {
  const auto thrown = [](auto what) {
    return wrong([what](const at::Tensor&, const LossInputs&) -> at::Tensor { throw what; });
  };
  const std::string who = "datum 6: the loss 'own' ";
  EXPECT_EQ(refusal(thrown(std::runtime_error("no luck"))), who + "failed: no luck");
  EXPECT_EQ(refusal(thrown(invalid_argument("no luck"))), who + "failed: no luck");
  EXPECT_EQ(refusal(thrown(3)), who + "threw something that is no std::exception");
  EXPECT_THAT(refusal(wrong([](const at::Tensor& logits, const LossInputs&) {
                return logits.matmul(logits).sum();
              })),
              AllOf(HasSubstr(who), HasSubstr("12x50")));
  EXPECT_THAT(refusal(wrong([](const at::Tensor&, const LossInputs& in) { return in["wieghts"]; })),
              AllOf(HasSubstr("'wieghts'"), HasSubstr("target_tokens, tokens, weights")));
}

TEST_F(OwnLossOfARunTest, MemoryThatRunsOutIsNotTheFunctionsMistake) {
  const auto result =
      train([](const at::Tensor&, const LossInputs&) -> at::Tensor { throw std::bad_alloc(); });
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message(), HasSubstr("not enough memory"));
}

TEST_F(OwnLossOfARunTest, ResultsThatAreNoFiniteScalarAreRefused) {
  const auto returned = [](const at::Tensor& what) {
    return wrong([what](const at::Tensor&, const LossInputs&) { return what; });
  };
  EXPECT_THAT(refusal(returned({})), HasSubstr("an undefined tensor"));
  EXPECT_THAT(refusal(returned(at::ones({3, 2}))), HasSubstr("shape [3, 2], expected a scalar"));
  EXPECT_THAT(refusal(returned(at::ones({}, at::kLong))), HasSubstr("type Long"));
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float value : {infinity, -infinity, std::nanf("")}) {
    EXPECT_THAT(refusal(wrong([value](const at::Tensor& logits, const LossInputs&) {
                  return logits.sum() * 0 + value;
                })),
                AllOf(HasSubstr("datum 6: the loss 'own' returned "), HasSubstr("finite")));
  }
}

TEST_F(OwnLossOfARunTest, GradientsThatAreMissingOrNotFiniteAreRefused) {
  const LogitsLoss cut_off =
      wrong([](const at::Tensor& logits, const LossInputs&) { return logits.detach().sum(); });
  const LogitsLoss unrelated = wrong([](const at::Tensor&, const LossInputs&) {
    return at::ones({3}).requires_grad_(true).sum();
  });
  EXPECT_THAT(refusal(cut_off), HasSubstr("datum 6: the loss 'own' returned a scalar that"));
  EXPECT_THAT(refusal(unrelated), HasSubstr("cannot trace to the logits"));
  EXPECT_TRUE(train(cut_off, true).ok());  // A forward pass needs none.
  EXPECT_THAT(refusal(wrong([](const at::Tensor& logits, const LossInputs&) {
                return (logits * 0).sqrt().sum();
              })),
              HasSubstr("has a gradient that is not finite"));
}

TEST_F(OwnLossOfARunTest, FailingModulesNameTheLossAndTheDatum) {
  const auto script = [](const std::string& body) {
    return module_loss(module_of("def forward(self, logits, inputs: Dict[str, Tensor]):\n" + body))
        .value();
  };
  EXPECT_THAT(refusal(script("    return inputs[\"wieghts\"].sum()\n")),
              AllOf(HasSubstr("the loss 'own' failed"), HasSubstr("wieghts")));
  EXPECT_THAT(refusal(script("    return 3\n")), HasSubstr("forward returned a Int"));
  settings_ = {{"margin", 1.0}};
  EXPECT_THAT(refusal(script("    return logits.sum()\n")), HasSubstr("margin"));
}

TEST_F(OwnLossOfARunTest, ModulesWithoutASuitableForwardAreRefusedAtOnce) {
  const Result<LogitsLoss> none = module_loss(torch::jit::Module("loss"));
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.error().message(), HasSubstr("no forward"));
  const Result<LogitsLoss> few = module_loss(module_of("def forward(self, x):\n    return x\n"));
  ASSERT_FALSE(few.ok());
  EXPECT_THAT(few.error().message(), HasSubstr("too few arguments"));
}

TEST_F(OwnLossOfARunTest, InputsOfAnyNameTypeAndShapeArrive) {
  const std::vector<float> rewards(6, 0.5F);
  data_.resize(1);
  data_[0].loss_fn_inputs = {
      {"rewards", TensorData::from(rewards, {2, 3})},
      {"choices", TensorData::from(std::vector<std::int64_t>{4, 2}, {1, 2, 1})}};
  settings_ = {{"strength", 2.0}, {"mode", std::string("hard")}};
  LossInputs seen;
  const auto output = train([&](const at::Tensor& logits, const LossInputs& inputs) {
    seen = inputs;
    return logits.sum();
  });
  ASSERT_TRUE(output.ok());
  EXPECT_EQ(seen.settings, settings_);
  EXPECT_EQ(seen.tensors.size(), 3U);
  EXPECT_TRUE(at::equal(seen["rewards"], at::full({2, 3}, 0.5)));
  EXPECT_TRUE(at::equal(seen["choices"], at::tensor({4, 2}, at::kLong).view({1, 2, 1})));
  const auto tokens = data_[0].model_input.text_tokens();
  EXPECT_TRUE(at::equal(seen["tokens"], at::tensor(tokens)));
  EXPECT_FALSE(seen["rewards"].is_inference());
}

TEST_F(OwnLossOfARunTest, WithoutTargetsThereAreNoLogprobs) {
  EXPECT_EQ(find(train(cross_entropy).value().loss_fn_outputs[2], "logprobs")->size(), 9U);
  const LogitsLoss sum = [](const at::Tensor& logits, const LossInputs&) { return logits.sum(); };
  for (Datum& datum : data_) datum.loss_fn_inputs.clear();
  const ForwardBackwardOutput output = train(sum).value();
  ASSERT_EQ(output.loss_fn_outputs.size(), data_.size());
  EXPECT_TRUE(output.loss_fn_outputs[0].empty());
  EXPECT_EQ(output.metrics.at("num_tokens:sum"), 46);
  EXPECT_EQ(output.metrics.at("num_loss_tokens:sum"), 46);
}

TEST_F(OwnLossOfARunTest, InputsThatTheEngineReadsAreChecked) {
  const LogitsLoss sum = [](const at::Tensor& logits, const LossInputs&) { return logits.sum(); };
  const std::vector<Datum> good = data_;
  data_[2].loss_fn_inputs.clear();
  EXPECT_THAT(refusal(sum), HasSubstr("datum 2: lacks target_tokens, unlike datum 0"));
  data_ = good;
  data_[1].loss_fn_inputs[0].second = TensorData::from(std::vector<std::int64_t>{50});
  EXPECT_THAT(refusal(sum), AllOf(HasSubstr("datum 1: target_tokens[0] is 50"), HasSubstr("50")));
  data_ = good;
  data_[1].loss_fn_inputs.emplace_back("tokens", TensorData::from(std::vector<float>{1}));
  EXPECT_THAT(refusal(sum), HasSubstr("datum 1: tokens is what the loss gets"));
  data_ = good;
  data_[1].loss_fn_inputs.emplace_back("weights", TensorData::from(std::vector<float>{1}));
  EXPECT_THAT(refusal(sum), HasSubstr("'weights' is given twice"));
}

TEST(OwnLossNamesTest, UnknownLossListsTheUsersToo) {
  const auto spec = parse_loss("mine", {}, {{kOwn, cross_entropy}});
  ASSERT_FALSE(spec.ok());
  EXPECT_THAT(spec.error().message(), HasSubstr("gspo, own"));
}

TEST(OwnLossNamesTest, NamesOfTheApiAndEmptyFunctionsAreRefused) {
  const auto refusal = [](const std::string& name, const LogitsLoss& loss) {
    const Status status = check_own_losses({{name, loss}});
    return status ? "accepted" : status.error().message();
  };
  EXPECT_EQ(refusal(kOwn, cross_entropy), "accepted");
  for (const char* name : {"cross_entropy", "gspo", "stable_reinforce", "custom"}) {
    EXPECT_THAT(refusal(name, cross_entropy),
                AllOf(HasSubstr(name), HasSubstr("cannot be replaced")));
  }
  EXPECT_THAT(refusal("", cross_entropy), HasSubstr("expected a name"));
  EXPECT_THAT(refusal("\xff", cross_entropy), HasSubstr("expected a name"));
  EXPECT_THAT(refusal(kOwn, nullptr), HasSubstr("empty function"));
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
