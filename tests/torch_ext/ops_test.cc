// The registered ops, called through the dispatcher, on connections that remember what they saw.

#include <ATen/ops/_nested_tensor_from_tensor_list.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/version.h>

#include <cmath>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/torch_ext/call_op.h"
#include "tests/torch_ext/fake_connections.h"
#include "tinkex/executor.h"
#include "torch_ext/ops/client_classes.h"
#include "torch_ext/ops/future_handle.h"
#include "torch_ext/ops/reaper.h"

namespace tinkex::torch_ext {
namespace {

using c10::IValue;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

IValue inputs_of(std::vector<std::pair<std::string, std::vector<at::Tensor>>> lists) {
  c10::Dict<std::string, c10::List<at::Tensor>> dict;
  for (auto& [name, list] : lists) dict.insert(name, c10::List<at::Tensor>(list));
  return IValue(dict);
}

double metric(const IValue& metrics, const std::string& name) {
  return metrics.toGenericDict().at(name).toTensor().item<double>();
}

class OpsTest : public testing::Test {
 protected:
  OpsTest() {
    fake_->output = ForwardBackwardOutput{
        .loss_fn_output_type = "TensorDict",
        .loss_fn_outputs = {{{"logprobs", TensorData::from(std::vector<float>{-1, -2, -3})}}},
        .metrics = {{"loss:sum", 6.0}},
    };
    sampling_fake_->response.sequences = {{{7, 8}, {-0.5f, -0.25f}, StopReason::kStop, "s0"},
                                          {{9}, {}, StopReason::kLength, "s1"}};
    sampling_fake_->response.prompt_logprobs = {NAN, -1.5f};
  }

  /// forward_backward of one sequence with weights.
  std::vector<IValue> one_datum() const {
    return {client_, tensor_list({tokens_of({1, 2, 3})}),
            inputs_of({{"target_tokens", {tokens_of({2, 3, 4})}}, {"weights", {at::ones({3})}}})};
  }

  std::shared_ptr<FakeTraining> fake_ = std::make_shared<FakeTraining>();
  std::shared_ptr<FakeSampling> sampling_fake_ = std::make_shared<FakeSampling>();
  IValue client_{c10::make_intrusive<ScriptTrainingClient>(TrainingClient(fake_), nullptr)};
  IValue sampler_{
      c10::make_intrusive<ScriptSamplingClient>(SamplingClient(sampling_fake_), nullptr)};
};

TEST_F(OpsTest, ForwardBackwardSendsTheTensorsAndReturnsTensors) {
  const IValue result = call("forward_backward", one_datum());
  ASSERT_EQ(fake_->seen.size(), 1u);
  EXPECT_THAT(fake_->seen[0].tokens, ElementsAre(1, 2, 3));
  EXPECT_THAT(fake_->seen[0].inputs["target_tokens"], ElementsAre(2, 3, 4));
  EXPECT_THAT(fake_->seen[0].inputs["weights"], ElementsAre(1, 1, 1));
  EXPECT_EQ(fake_->loss_fn, "cross_entropy");
  EXPECT_FALSE(fake_->forward_only);
  const auto& parts = result.toTupleRef().elements();
  const at::Tensor logprobs = parts[0].toGenericDict().at("logprobs").toTensorVector().at(0);
  EXPECT_TRUE(at::equal(logprobs, at::arange(1, 4, at::kFloat).neg()));
  EXPECT_EQ(metric(parts[1], "loss:sum"), 6.0);
}

TEST_F(OpsTest, ForwardAsksForNoGradientAndPassesTheLossWithItsSettings) {
  c10::Dict<std::string, double> config;
  config.insert("clip_low_threshold", 0.8);
  std::vector<IValue> arguments = one_datum();
  arguments.emplace_back("ppo");
  arguments.emplace_back(config);
  call("forward", arguments);
  EXPECT_TRUE(fake_->forward_only);
  EXPECT_EQ(fake_->loss_fn, "ppo");
  EXPECT_EQ(std::get<double>(fake_->config.at("clip_low_threshold")), 0.8);
}

// Spec T3.
TEST_F(OpsTest, T3_CallerMayOverwriteItsTensorsOnceTheCallHasReturned) {
  fake_->hold = true;
  for (const std::string form : {"_async", "_future"}) {
    const at::Tensor tokens = tokens_of({1, 2, 3});
    const IValue pending =
        call("forward_backward" + form, {client_, tensor_list({tokens}), inputs_of({})});
    EXPECT_EQ(tokens.use_count(), 1u) << form;  // nothing kept a reference
    tokens.zero_();
    EXPECT_THAT(fake_->seen[0].tokens, ElementsAre(1, 2, 3)) << form;
  }
}

TEST_F(OpsTest, OptimStepUsesTheApisDefaultsAndReturnsMetricsAsTensors) {
  const IValue metrics = call("optim_step", {client_});
  const AdamParams defaults;
  EXPECT_EQ(fake_->adam.learning_rate, defaults.learning_rate);
  EXPECT_EQ(fake_->adam.beta1, defaults.beta1);
  EXPECT_EQ(fake_->adam.beta2, defaults.beta2);
  EXPECT_EQ(fake_->adam.eps, defaults.eps);
  EXPECT_EQ(fake_->adam.weight_decay, defaults.weight_decay);
  EXPECT_EQ(fake_->adam.grad_clip_norm, defaults.grad_clip_norm);
  EXPECT_EQ(metric(metrics, "grad_norm"), 2.5);
}

TEST_F(OpsTest, OptimStepPassesEverySetting) {
  call("optim_step", {client_, 0.5, 0.1, 0.2, 1e-3, 0.01, 4.0});
  EXPECT_EQ(fake_->adam.learning_rate, 0.5);
  EXPECT_EQ(fake_->adam.beta1, 0.1);
  EXPECT_EQ(fake_->adam.beta2, 0.2);
  EXPECT_EQ(fake_->adam.eps, 1e-3);
  EXPECT_EQ(fake_->adam.weight_decay, 0.01);
  EXPECT_EQ(fake_->adam.grad_clip_norm, 4.0);
}

TEST_F(OpsTest, CheckpointOpsGivePaths) {
  EXPECT_EQ(call("save_state", {client_, "a"}).toStringRef(), "tinker://run/weights/a");
  EXPECT_EQ(call("load_state", {client_, "tinker://r/weights/p"}).toStringRef(),
            "tinker://r/weights/p");
  EXPECT_EQ(call("save_weights_for_sampler", {client_, "s"}).toStringRef(),
            "tinker://run/sampler_weights/s");
  EXPECT_THAT(thrown_by([&] {
                call("save_weights_for_sampler", {client_, "nameless"});
              }).text,
              StartsWith("tinkex: [decode] "));
}

TEST_F(OpsTest, SamplePassesItsSettingsAndReturnsTensorsAndStopReasons) {
  const c10::List<std::int64_t> stop_tokens({257});
  const c10::List<std::string> stop({std::string("\n")});
  const IValue result = call("sample", {sampler_, tokens_of({5, 6}), 2, 16, 42, 0.5, 10, 0.9,
                                        IValue(stop_tokens), IValue(stop)});
  EXPECT_THAT(sampling_fake_->prompt, ElementsAre(5, 6));
  EXPECT_EQ(sampling_fake_->num_samples, 2);
  EXPECT_EQ(sampling_fake_->params.max_tokens, 16);
  EXPECT_EQ(sampling_fake_->params.seed, 42u);
  EXPECT_EQ(sampling_fake_->params.temperature, 0.5);
  EXPECT_EQ(sampling_fake_->params.top_k, 10);
  EXPECT_EQ(sampling_fake_->params.top_p, 0.9);
  EXPECT_THAT(sampling_fake_->params.stop.value(),
              ElementsAre(SamplingParams::Stop("\n"), SamplingParams::Stop(std::int64_t{257})));
  const auto& parts = result.toTupleRef().elements();
  EXPECT_TRUE(at::equal(parts[0].toTensorVector().at(0), tokens_of({7, 8})));
  EXPECT_TRUE(at::equal(parts[1].toTensorVector().at(0), at::tensor({-0.5f, -0.25f})));
  EXPECT_EQ(parts[1].toTensorVector().at(1).numel(), 0);
  EXPECT_EQ(parts[2].toListRef()[0].toStringRef(), "stop");
  EXPECT_EQ(parts[2].toListRef()[1].toStringRef(), "length");
}

TEST_F(OpsTest, SampleWithoutSettingsLeavesThemToTheModel) {
  call("sample", {sampler_, tokens_of({5}), 2});
  EXPECT_FALSE(sampling_fake_->params.max_tokens);
  EXPECT_FALSE(sampling_fake_->params.seed);
  EXPECT_FALSE(sampling_fake_->params.stop);
  EXPECT_EQ(sampling_fake_->params.temperature, 1.0);
  EXPECT_EQ(sampling_fake_->params.top_k, -1);
  call("sample", {sampler_, tokens_of({5}), 2, IValue(), IValue(), 1.0, -1, 1.0,
                  IValue(c10::List<std::int64_t>())});
  EXPECT_THAT(sampling_fake_->params.stop.value(), IsEmpty());
}

TEST_F(OpsTest, ComputeLogprobsGivesOneValuePerToken) {
  const at::Tensor logprobs = call("compute_logprobs", {sampler_, tokens_of({5, 6})}).toTensor();
  EXPECT_TRUE(sampling_fake_->options.prompt_logprobs);
  ASSERT_EQ(logprobs.numel(), 2);
  EXPECT_TRUE(std::isnan(logprobs[0].item<float>()));
  EXPECT_EQ(logprobs[1].item<float>(), -1.5f);
}

TEST_F(OpsTest, BadArgumentsAreValueErrorsAndNothingIsSent) {
  const auto error_of = [&](std::vector<at::Tensor> tokens, IValue inputs) {
    return thrown_by([&] {
      call("forward_backward", {client_, tensor_list(tokens), std::move(inputs)});
    });
  };
  const Thrown empty = error_of({}, inputs_of({}));
  EXPECT_TRUE(empty.value_error);
  EXPECT_THAT(empty.text, StartsWith("tinkex: [invalid_argument] tokens is empty"));
  const Thrown rank = error_of({tokens_of({1}), at::ones({2, 2}, at::kLong)}, inputs_of({}));
  EXPECT_THAT(rank.text, StartsWith("tinkex: [invalid_argument] tokens[1] has 2 dimensions"));
  const Thrown sparse = error_of({at::ones({2, 2}).to_sparse_csr()}, inputs_of({}));
  EXPECT_THAT(sparse.text, StartsWith("tinkex: [invalid_argument] tokens[0] has a sparse layout"));
  const Thrown seed = thrown_by([&] {
    call("sample", {sampler_, tokens_of({1}), 1, IValue(), -3});
  });
  EXPECT_TRUE(seed.value_error);
  EXPECT_THAT(seed.text, HasSubstr("seed is -3"));
  EXPECT_EQ(fake_->calls, 0);
  EXPECT_EQ(sampling_fake_->calls, 0);
}

TEST_F(OpsTest, MetaTensorsNeverReachTheConnection) {
  if (TORCH_VERSION_MAJOR < 2) GTEST_SKIP() << "1.13 refuses them itself: it has no AutogradMeta";
  const at::Tensor meta = at::empty({3}, at::TensorOptions(at::kLong).device(at::kMeta));
  for (const std::string form : {"", "_async", "_future"}) {
    EXPECT_THAT(thrown_by([&] {
                  call("forward_backward" + form,
                       {client_, tensor_list({tokens_of({1}), meta}), inputs_of({})});
                }).text,
                HasSubstr("tinkex::forward_backward" + form +
                          " was called with tokens[1], which holds no data"));
    EXPECT_THAT(thrown_by([&] {
                  call("sample" + form, {sampler_, meta});
                }).text,
                HasSubstr("prompt, which holds no data"));
  }
  // Tensors inside a Dict do not choose the kernel; the conversion refuses them.
  const Thrown in_dict = thrown_by([&] {
    call("forward_backward",
         {client_, tensor_list({tokens_of({1})}), inputs_of({{"weights", {meta}}})});
  });
  EXPECT_THAT(in_dict.text, HasSubstr("loss_fn_inputs['weights'][0] holds no data"));
  EXPECT_EQ(fake_->calls, 0);
  EXPECT_EQ(sampling_fake_->calls, 0);
}

TEST_F(OpsTest, ServerErrorKeepsItsCodeAndIsNotAValueError) {
  fake_->output = Error(ErrorCode::kRequestFailed, "CUDA went away").with_request_id("r9");
  const Thrown thrown = thrown_by([&] { call("forward_backward", one_datum()); });
  EXPECT_FALSE(thrown.value_error);
  EXPECT_THAT(thrown.text, StartsWith("tinkex: [request_failed] CUDA went away"));
  EXPECT_THAT(thrown.text, HasSubstr("r9"));
}

TEST_F(OpsTest, OutputsThatDoNotMatchAreADecodeError) {
  const auto error = [&] { return thrown_by([&] { call("forward_backward", one_datum()); }).text; };
  fake_->output->loss_fn_outputs.emplace_back();
  EXPECT_THAT(error(), StartsWith("tinkex: [decode] the server sent 2 outputs, expected 1"));
  fake_->output->loss_fn_outputs = {{{"logprobs", TensorData::from(std::vector<float>{-1, -2})}}};
  EXPECT_THAT(error(), StartsWith("tinkex: [decode] the server sent 2 logprobs of datum 0, which "
                                  "has 3 targets, expected 3"));
}

TEST_F(OpsTest, SamplesThatWereNotAskedForAreADecodeError) {
  const auto error = [&](int samples, int max_tokens) {
    return thrown_by([&] { call("sample", {sampler_, tokens_of({5}), samples, max_tokens}); }).text;
  };
  EXPECT_THAT(error(1, 16), StartsWith("tinkex: [decode] the server sent 2 samples, expected 1"));
  EXPECT_THAT(error(2, 1), StartsWith("tinkex: [decode] the server sent 2 tokens of sample 0, "
                                      "expected at most max_tokens, which is 1"));
}

TEST_F(OpsTest, TensorsWithoutDataOfTheirOwnAreRefusedInOurWords) {
  const at::Tensor freed = tokens_of({1, 2, 3});
  freed.storage().unsafeGetStorageImpl()->set_nbytes(8);
  EXPECT_THAT(thrown_by([&] {
                call("forward_backward", {client_, tensor_list({freed}), inputs_of({})});
              }).text,
              HasSubstr("tokens[0] needs 24 bytes of a storage that has 8"));
  freed.storage().unsafeGetStorageImpl()->set_nbytes(24);
  const at::Tensor nested =
      at::_nested_tensor_from_tensor_list({tokens_of({1}), tokens_of({2, 3})});
  for (const std::string form : {"", "_async", "_future"}) {
    EXPECT_THAT(thrown_by([&] {
                  call("forward_backward" + form, {client_, tensor_list({nested}), inputs_of({})});
                }).text,
                HasSubstr("nested tensor; pass its parts as a list"));
    EXPECT_THAT(thrown_by([&] {
                  call("compute_logprobs" + form, {sampler_, nested});
                }).text,
                HasSubstr("nested tensor; pass its parts as a list"));
  }
  EXPECT_EQ(fake_->calls + sampling_fake_->calls, 0);
}

TEST_F(OpsTest, HandleWaitsAndMayBeAskedTwice) {
  fake_->hold = true;
  const IValue handle = call("forward_backward_async", one_datum());
  EXPECT_FALSE(method(handle, "done").toBool());
  EXPECT_FALSE(method(handle, "wait_for", {0.0}).toBool());
  fake_->held.set(fake_->output);
  EXPECT_TRUE(method(handle, "wait_for", {1e300}).toBool());
  for (int i = 0; i < 2; ++i) {
    const IValue result = method(handle, "wait");
    EXPECT_EQ(metric(result.toTupleRef().elements()[1], "loss:sum"), 6.0);
  }
}

/// Says of every thread that it is its own.
struct EveryThread final : Executor {
  bool post(Task task) noexcept override {
    task();
    return true;
  }
  bool is_worker_thread() const noexcept override { return true; }
};

TEST_F(OpsTest, HandleThatWouldWaitForItselfSaysSoOnEveryThread) {
  fake_->hold = true;
  fake_->held = Promise<ForwardBackwardOutput>(std::make_shared<EveryThread>());
  const IValue handle = call("forward_backward_async", one_datum());
  const auto refused = HasSubstr(
      "tinkex: [would_deadlock] the call is under way, but cannot be waited for here: waiting on");
  EXPECT_FALSE(method(handle, "wait_for", {0.0}).toBool());
  EXPECT_THAT(thrown_by([&] { method(handle, "wait_for", {0.05}); }).text, refused);
  std::vector<std::string> texts(4);
  std::vector<std::thread> threads;
  for (std::string& text : texts) {
    threads.emplace_back([&handle, &text] {
      for (int i = 0; i < 100; ++i) text = thrown_by([&] { method(handle, "wait"); }).text;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(texts, testing::Each(refused));
  fake_->held.set(fake_->output);
  EXPECT_TRUE(method(handle, "wait_for", {0.05}).toBool());
  EXPECT_EQ(metric(method(handle, "wait").toTupleRef().elements()[1], "loss:sum"), 6.0);
}

TEST_F(OpsTest, CancelledHandleThrowsCancelled) {
  fake_->hold = true;
  const IValue handle = call("forward_backward_async", one_datum());
  method(handle, "cancel");
  EXPECT_TRUE(method(handle, "done").toBool());
  EXPECT_THAT(thrown_by([&] { method(handle, "wait"); }).text, HasSubstr("tinkex: [cancelled]"));
}

TEST_F(OpsTest, FutureCompletesWithTheSameResultAsTheBlockingForm) {
  fake_->hold = true;
  const auto future = call("forward_backward_future", one_datum()).toFuture();
  EXPECT_FALSE(future->completed());
  fake_->held.set(fake_->output);
  future->wait();
  EXPECT_EQ(metric(future->value().toTupleRef().elements()[1], "loss:sum"), 6.0);
}

TEST_F(OpsTest, FutureCarriesTheErrorWithItsPrefix) {
  fake_->output = Error(ErrorCode::kTimeout, "too slow");
  const auto future = call("forward_backward_future", one_datum()).toFuture();
  EXPECT_TRUE(future->hasError());
  EXPECT_THAT(future->tryRetrieveErrorMessage(), StartsWith("tinkex: [timeout] too slow"));
}

TEST_F(OpsTest, EveryOtherFutureFormCompletes) {
  EXPECT_EQ(metric(call("optim_step_future", {client_}).toFuture()->value(), "grad_norm"), 2.5);
  EXPECT_EQ(call("save_state_future", {client_, "a"}).toFuture()->value().toStringRef(),
            "tinker://run/weights/a");
  const IValue sample = call("sample_future", {sampler_, tokens_of({5}), 2}).toFuture()->value();
  EXPECT_EQ(sample.toTupleRef().elements()[0].toTensorVector().size(), 2u);
  EXPECT_EQ(call("compute_logprobs_future", {sampler_, tokens_of({5, 6})})
                .toFuture()
                ->value()
                .toTensor()
                .numel(),
            2);
}

TEST_F(OpsTest, SnapshotGivesASamplingClientInAllThreeForms) {
  fake_->sampler = SamplingClient(sampling_fake_);
  const std::string op = "save_weights_and_get_sampling_client";
  const IValue clients[] = {call(op, {client_}), method(call(op + "_async", {client_}), "wait"),
                            call(op + "_future", {client_}).toFuture()->value()};
  for (const IValue& client : clients) {
    EXPECT_EQ(method(client, "session_id").toStringRef(), "sampling-1");
  }
}

TEST_F(OpsTest, MethodsOfTheClassesDoWhatTheOpsDo) {
  std::vector<IValue> arguments = one_datum();
  arguments.erase(arguments.begin());
  const IValue result = method(client_, "forward_backward", arguments);
  EXPECT_EQ(metric(result.toTupleRef().elements()[1], "loss:sum"), 6.0);
  EXPECT_EQ(metric(method(client_, "optim_step"), "grad_norm"), 2.5);
  EXPECT_EQ(method(client_, "model_id").toStringRef(), "model-1");
  EXPECT_EQ(method(sampler_, "sample", {tokens_of({5}), 2})
                .toTupleRef()
                .elements()[0]
                .toTensorVector()
                .size(),
            2u);
  method(sampler_, "close");
  EXPECT_TRUE(sampling_fake_->closed);
}

TEST_F(OpsTest, ClientsRefuseToBePickledWithAdvice) {
  for (const IValue& client : {client_, sampler_}) {
    EXPECT_THAT(thrown_by([&] { method(client, "__getstate__"); }).text,
                testing::AllOf(HasSubstr("tinkex: [invalid_argument]"), HasSubstr("save_state")));
  }
}

TEST_F(OpsTest, DroppedClientAndItsLeaseAreReleasedByTheReaperAlone) {
  std::promise<void> go_on;
  drop_later(std::shared_ptr<void>(nullptr, [&go_on](void*) { go_on.get_future().wait(); }));
  auto lease = std::make_shared<int>(0);
  const std::weak_ptr<int> watched_lease = lease;
  const std::weak_ptr<FakeTraining> watched = fake_;
  client_ = IValue(c10::make_intrusive<ScriptTrainingClient>(TrainingClient(fake_), lease));
  lease.reset();
  fake_.reset();
  client_ = IValue();
  EXPECT_FALSE(watched.expired());
  EXPECT_FALSE(watched_lease.expired());
  go_on.set_value();
  wait_until_dropped();
  EXPECT_TRUE(watched.expired());
  EXPECT_TRUE(watched_lease.expired());
}

TEST(TextOpsTest, TextBecomesBytesAndComesBack) {
  const at::Tensor tokens = call("encode_text", {"hi\xc3\xa9"}).toTensor();
  EXPECT_TRUE(at::equal(tokens, tokens_of({104, 105, 195, 169})));
  EXPECT_EQ(call("decode_text", {tokens.to(at::kInt)}).toStringRef(), "hi\xc3\xa9");
  const at::Tensor begun = tokens_of({104, 226, 130});
  EXPECT_EQ(call("decode_text", {begun}).toStringRef(), "h\xef\xbf\xbd");
  EXPECT_EQ(call("decode_text", {begun, false}).toStringRef(), "h\xe2\x82");
  EXPECT_THAT(thrown_by([] { call("decode_text", {at::ones({2})}); }).text,
              HasSubstr("expected one dimension of integers"));
}

}  // namespace
}  // namespace tinkex::torch_ext
