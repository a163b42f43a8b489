// The ops for several sequences, and handles, on connections that remember what they saw.

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/version.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/torch_ext/call_op.h"
#include "tests/torch_ext/fake_connections.h"
#include "torch_ext/ops/client_classes.h"

namespace tinkex::torch_ext {
namespace {

using c10::IValue;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class RaggedOpsTest : public testing::Test {
 protected:
  RaggedOpsTest() {
    const auto logprobs = [](std::vector<float> values) {
      return NamedTensors{{"logprobs", TensorData::from(std::move(values))}};
    };
    training_->output = ForwardBackwardOutput{.loss_fn_output_type = "TensorDict",
                                              .loss_fn_outputs = {logprobs({1, 2}), logprobs({3})},
                                              .metrics = {{"loss:sum", 6.0}}};
    sampling_->response.sequences = {{{7, 8}, {-0.5f, -0.25f}, StopReason::kStop, "s0"},
                                     {{9}, {}, StopReason::kLength, "s1"}};
    sampling_->response.prompt_cache_hit_tokens = 5;
  }

  std::vector<IValue> two_sequences() const {
    c10::Dict<std::string, at::Tensor> inputs;
    inputs.insert("target_tokens", tokens_of({2, 3, 4}));
    return {client_, tokens_of({1, 2, 3}), tokens_of({0, 2, 3}), inputs};
  }

  std::shared_ptr<FakeTraining> training_ = std::make_shared<FakeTraining>();
  std::shared_ptr<FakeSampling> sampling_ = std::make_shared<FakeSampling>();
  IValue client_{c10::make_intrusive<ScriptTrainingClient>(TrainingClient(training_), nullptr)};
  IValue sampler_{c10::make_intrusive<ScriptSamplingClient>(SamplingClient(sampling_), nullptr)};
};

at::Tensor field(const IValue& dict, const std::string& name) {
  return dict.toGenericDict().at(name).toTensor();
}

TEST_F(RaggedOpsTest, ForwardBackwardCutsTheSequencesAndJoinsTheOutputs) {
  const IValue result = call("forward_backward_ragged", two_sequences());
  ASSERT_EQ(training_->seen.size(), 2u);
  EXPECT_THAT(training_->seen[0].tokens, ElementsAre(1, 2));
  EXPECT_THAT(training_->seen[1].inputs["target_tokens"], ElementsAre(4));
  EXPECT_FALSE(training_->forward_only);
  const auto& parts = result.toTupleRef().elements();
  EXPECT_TRUE(at::equal(field(parts[0], "logprobs"), at::arange(1, 4, at::kFloat)));
  EXPECT_TRUE(at::equal(field(parts[1], "logprobs"), tokens_of({0, 2, 3})));
  EXPECT_EQ(field(parts[2], "loss:sum").item<double>(), 6.0);
}

TEST_F(RaggedOpsTest, ForwardAsksForNoGradient) {
  call("forward_ragged", two_sequences());
  EXPECT_TRUE(training_->forward_only);
  EXPECT_EQ(training_->loss_fn, "cross_entropy");
}

// Spec T3.
TEST_F(RaggedOpsTest, T3_TensorsMayBeOverwrittenInEveryFormOnceTheCallHasReturned) {
  training_->hold = true;
  for (const std::string form : {"_async", "_future"}) {
    const std::vector<IValue> arguments = two_sequences();
    const IValue pending = call("forward_backward_ragged" + form, arguments);
    at::Tensor tokens = arguments[1].toTensor();
    EXPECT_EQ(tokens.use_count(), 2u) << form;  // `arguments`, and this copy
    tokens.zero_();
    EXPECT_THAT(training_->seen[1].tokens, ElementsAre(3)) << form;
  }
}

TEST_F(RaggedOpsTest, SamplesOfAllPromptsFollowEachOther) {
  const IValue result =
      call("sample_ragged", {sampler_, tensor_list({tokens_of({1}), tokens_of({2, 3})}), 2});
  EXPECT_EQ(sampling_->calls, 2);
  EXPECT_THAT(sampling_->prompt, ElementsAre(2, 3));
  EXPECT_TRUE(at::equal(field(result, "tokens"), tokens_of({7, 8, 9, 7, 8, 9})));
  EXPECT_TRUE(at::equal(field(result, "offsets"), tokens_of({0, 2, 3, 5, 6})));
  EXPECT_TRUE(at::equal(field(result, "stopped").to(at::kLong), tokens_of({1, 0, 1, 0})));
  EXPECT_TRUE(at::equal(field(result, "prompt_cache_hit_tokens"), tokens_of({5, 5})));
  const at::Tensor logprobs = field(result, "logprobs");
  EXPECT_EQ(logprobs[4].item<float>(), -0.25f);
  EXPECT_TRUE(std::isnan(logprobs[2].item<float>()));  // the server sent none
  EXPECT_FALSE(result.toGenericDict().contains("prompt_logprobs"));
}

TEST_F(RaggedOpsTest, LikeliestTokensAreRowsWithGapsMarked) {
  sampling_->response.prompt_logprobs = {NAN, -1.5f};
  sampling_->response.topk_prompt_logprobs = {{{3, -0.5f}}, {{4, -0.5f}, {2, -1.5f}}};
  const auto likeliest = [&](int k) {
    return call("sample_ragged", {sampler_, tensor_list({tokens_of({1, 2})}), 2, IValue(), IValue(),
                                  1.0, -1, 1.0, IValue(), IValue(), false, k});
  };
  const IValue result = likeliest(2);
  EXPECT_EQ(sampling_->options.topk_prompt_logprobs, 2);
  EXPECT_TRUE(at::equal(field(result, "topk_tokens"), tokens_of({3, -1, 4, 2}).view({2, 2})));
  EXPECT_EQ(field(result, "topk_logprobs")[1][0].item<float>(), -0.5f);
  EXPECT_TRUE(std::isnan(field(result, "topk_logprobs")[0][1].item<float>()));
  EXPECT_EQ(field(likeliest(1), "topk_tokens").sizes(), at::IntArrayRef({2, 1}));
  EXPECT_EQ(field(likeliest(1'000'000), "topk_tokens").sizes(), at::IntArrayRef({2, 2}));
  EXPECT_THAT(thrown_by([&] { likeliest(1'000'000'000); }).text, HasSubstr("at most 1048576"));
  EXPECT_TRUE(at::equal(field(result, "prompt_offsets"), tokens_of({0, 2})));
}

TEST_F(RaggedOpsTest, AnswersOfTheWrongSizeAreADecodeErrorWithThePromptsName) {
  const IValue prompts = tensor_list({tokens_of({1}), tokens_of({2, 3})});
  EXPECT_THAT(thrown_by([&] {
                call("sample_ragged", {sampler_, prompts, 3});
              }).text,
              StartsWith("tinkex: [decode] prompts[0]: the server sent 2 samples, expected 3"));
  sampling_->response.prompt_logprobs = {NAN};
  EXPECT_THAT(thrown_by([&] {
                call("compute_logprobs_ragged", {sampler_, prompts});
              }).text,
              StartsWith("tinkex: [decode] prompts[1]: the server sent 1 logprobs of the prompt, "
                         "expected 2"));
  EXPECT_THAT(thrown_by([&] {
                call("compute_logprobs", {sampler_, tokens_of({1, 2})});
              }).text,
              StartsWith("tinkex: [decode] the server sent 1 logprobs of the prompt, expected 2"));
}

TEST_F(RaggedOpsTest, NothingIsSentIfOnePromptIsBad) {
  const IValue prompts = tensor_list({tokens_of({1}), tokens_of({-2})});
  for (const std::string op : {"sample_ragged", "compute_logprobs_ragged"}) {
    const Thrown thrown = thrown_by([&] { call(op, {sampler_, prompts}); });
    EXPECT_TRUE(thrown.value_error);
    EXPECT_THAT(thrown.text, StartsWith("tinkex: [invalid_argument] prompts[1]: prompt"));
  }
  EXPECT_EQ(sampling_->calls, 0);
}

TEST_F(RaggedOpsTest, InputThatRequiresAGradientIsRefusedWhileGradientsAreOn) {
  c10::Dict<std::string, at::Tensor> inputs;
  inputs.insert("weights", at::ones({1}).requires_grad_());
  const std::vector<IValue> arguments = {client_, tokens_of({1}), tokens_of({0, 1}), inputs};
  const Thrown thrown = thrown_by([&] { call("forward_ragged", arguments); });
  EXPECT_TRUE(thrown.value_error);
  EXPECT_THAT(thrown.text, HasSubstr("loss_fn_inputs['weights'] requires a gradient"));
  EXPECT_EQ(training_->calls, 0);
}

TEST_F(RaggedOpsTest, HandleTellsItsState) {
  training_->hold = true;
  const auto state = [](const IValue& handle) { return method(handle, "state").toStringRef(); };
  const IValue handle = call("forward_ragged_async", two_sequences());
  EXPECT_EQ(state(handle), "pending");
  training_->held.set(training_->output);
  EXPECT_EQ(state(handle), "done");
  method(handle, "cancel");
  EXPECT_EQ(state(handle), "done");
  training_->held = Promise<ForwardBackwardOutput>();
  const IValue cancelled = call("forward_ragged_async", two_sequences());
  method(cancelled, "cancel");
  EXPECT_EQ(state(cancelled), "cancelled");
  training_->held = Promise<ForwardBackwardOutput>();
  const IValue failed = call("forward_ragged_async", two_sequences());
  training_->held.set(Error(ErrorCode::kTimeout, "too slow"));
  EXPECT_EQ(state(failed), "failed");
}

TEST_F(RaggedOpsTest, MetaTensorsGiveAShapeOrAreRefused) {
  if (TORCH_VERSION_MAJOR < 2) GTEST_SKIP() << "1.13 refuses them itself: it has no AutogradMeta";
  const at::Tensor meta = at::empty({3}, at::TensorOptions(at::kLong).device(at::kMeta));
  const at::Tensor logprobs = call("compute_logprobs", {sampler_, meta}).toTensor();
  EXPECT_TRUE(logprobs.is_meta());
  EXPECT_EQ(logprobs.sizes(), at::IntArrayRef({3}));
  EXPECT_EQ(logprobs.scalar_type(), at::kFloat);
  const IValue ragged = call("compute_logprobs_ragged", {sampler_, tensor_list({meta, meta})});
  EXPECT_EQ(ragged.toTupleRef().elements()[0].toTensor().sizes(), at::IntArrayRef({6}));
  EXPECT_EQ(ragged.toTupleRef().elements()[1].toTensor().sizes(), at::IntArrayRef({3}));
  for (const std::string form : {"", "_async", "_future"}) {
    EXPECT_THAT(thrown_by([&] {
                  call("sample_ragged" + form, {sampler_, tensor_list({meta})});
                }).text,
                HasSubstr("prompts[0], which holds no data"));
  }
  EXPECT_EQ(sampling_->calls, 0);
}

}  // namespace
}  // namespace tinkex::torch_ext
