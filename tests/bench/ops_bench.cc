// What the ops cost on top of the C++ clients: tensors as bodies of requests, results as tensors,
// and a call through the dispatcher.
//
// ./bazelw run -c opt //tests/bench:ops

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <malloc.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "tests/bench/encoding.h"
#include "tests/bench/measurement.h"
#include "tinkex/connection.h"
#include "torch_ext/datum_convert.h"
#include "torch_ext/ops/client_classes.h"
#include "torch_ext/ops/results.h"

namespace {

using namespace tinkex;
using namespace tinkex::torch_ext;

constexpr std::size_t kDatums = 2048;
constexpr std::size_t kTokens = 400;
constexpr std::size_t kChunk = 128;  // datums of one reply, whose arrays lie in one block
constexpr int kRounds = 31;
constexpr int kCalls = 2000;

/// What the decoder makes of the replies to 2,048 datums.
ForwardBackwardOutput make_output() {
  ForwardBackwardOutput output;
  for (std::size_t chunk = 0; chunk < kDatums / kChunk; ++chunk) {
    const auto block = std::make_shared<std::vector<float>>(kChunk * kTokens, -1.5f);
    for (std::size_t i = 0; i < kChunk; ++i) {
      output.loss_fn_outputs.push_back(
          {{"logprobs", TensorData::share(block, block->data() + i * kTokens, DType::kFloat32,
                                          {static_cast<std::int64_t>(kTokens)})}});
    }
  }
  output.metrics = {{"loss:sum", 1.0}};
  return output;
}

void make_tensors(auto make, std::vector<float>& source) {
  std::vector<at::Tensor> tensors;
  tensors.reserve(kDatums);
  for (std::size_t i = 0; i < kDatums; ++i) tensors.push_back(make(source.data() + i * kTokens));
}

void bench_results() {
  const ForwardBackwardOutput output = make_output();
  const RaggedOutput ragged{output};
  std::vector<float> source(kDatums * kTokens, -1.5f);
  std::vector<double> copies, views, owners, as_ragged, as_lists;
  const auto owner = std::make_shared<int>(0);
  for (int round = 0; round < kRounds; ++round) {
    copies.push_back(bench::seconds([&] {
      const at::Tensor target = at::empty({static_cast<std::int64_t>(source.size())}, at::kFloat);
      std::memcpy(target.data_ptr(), source.data(), source.size() * sizeof(float));
    }));
    views.push_back(bench::seconds([&] {
      make_tensors(
          [&](float* data) {
            return at::from_blob(data, {static_cast<std::int64_t>(kTokens)}, at::kFloat);
          },
          source);
    }));
    owners.push_back(bench::seconds([&] {
      make_tensors(
          [&](float* data) {
            return at::from_blob(
                data, {static_cast<std::int64_t>(kTokens)}, [owner](void*) {}, at::kFloat);
          },
          source);
    }));
    as_ragged.push_back(bench::seconds([&] { (void)Script<RaggedOutput>::from(ragged); }));
    as_lists.push_back(bench::seconds([&] { (void)Script<ForwardBackwardOutput>::from(output); }));
  }
  std::printf("results of %zu x %zu logprobs\n", kDatums, kTokens);
  std::printf("  memcpy              %7.3f ms\n", bench::median(copies) * 1e3);
  std::printf("  values and offsets  %7.3f ms, %.2f of memcpy (goal: at least 0.50)\n",
              bench::median(as_ragged) * 1e3, bench::median_ratio(copies, as_ragged));
  std::printf("  from_blob           %7.3f ms, which owns and copies nothing\n",
              bench::median(views) * 1e3);
  std::printf("  from_blob, owner    %7.3f ms, which keeps memory alive and copies nothing\n",
              bench::median(owners) * 1e3);
  std::printf(
      "  list of tensors     %7.3f ms with the copy, %.2f times from_blob, %.2f times the "
      "one with an owner (goal: at most 1.50)\n",
      bench::median(as_lists) * 1e3, bench::median_ratio(as_lists, views),
      bench::median_ratio(as_lists, owners));
}

/// Token ids, targets and weights, a tensor of its own each.
struct TensorBatch {
  std::vector<at::Tensor> tokens;
  NamedTensorLists inputs{{"target_tokens", {}}, {"weights", {}}};

  TensorBatch(std::int64_t datums, std::int64_t length) {
    for (std::int64_t i = 0; i < datums; ++i) {
      const at::Tensor ids =
          at::arange(i * length, (i + 1) * length + 1).mul(7919).remainder(150'000);
      tokens.push_back(ids.narrow(0, 0, length).clone());
      inputs[0].second.push_back(ids.narrow(0, 1, length).clone());
      inputs[1].second.push_back(tokens.back().remainder(1000).to(at::kFloat).div(997));
    }
  }
};

/// How long it takes from tensors to bodies of requests, chunk by chunk, beside a memcpy of them.
struct EncodingTimes {
  std::size_t bytes = 0;
  std::vector<double> encode, copy;

  explicit EncodingTimes(const TensorBatch& batch) {
    ByteBuffer body;
    std::size_t bodies = 0;
    const auto encode_batch = [&] {
      const std::vector<Datum> data = borrow_datums(batch.tokens, batch.inputs).value();
      const auto chunks = bench::default_chunks(data);
      bodies = chunks.size();
      bytes = bench::encode_all(wire::proto_codec(), chunks, body);
    };
    encode_batch();
    bench::WireCopy wire_copy(bytes, bodies);
    for (int round = 0; round < kRounds; ++round) {
      copy.push_back(bench::seconds([&] { wire_copy.run(); }));
      encode.push_back(bench::seconds(encode_batch));
    }
  }
};

void bench_encoding() {
  constexpr std::int64_t kLongDatums = 128, kLongTokens = 32'768;
  constexpr double kSdkMilliseconds = 157;  // of the official SDK, for the same 2,048 x 400
  const EncodingTimes large(TensorBatch(kLongDatums, kLongTokens));
  std::printf(
      "tensors to protobuf bodies, tokens, targets and weights\n"
      "  %4d x %5d        %7.3f ms, %.2f of memcpy (goal: at least 0.50), %.1f MB\n",
      static_cast<int>(kLongDatums), static_cast<int>(kLongTokens),
      bench::median(large.encode) * 1e3, bench::median_ratio(large.copy, large.encode),
      static_cast<double>(large.bytes) / 1e6);
  const EncodingTimes small(TensorBatch(kDatums, kTokens));
  const double milliseconds = bench::median(small.encode) * 1e3;
  std::printf(
      "  %4zu x %5zu        %7.3f ms (goal: at most 3.9), %.0f times as fast as the official SDK's "
      "157 ms (goal: at least 40), %.2f of memcpy\n",
      kDatums, kTokens, milliseconds, kSdkMilliseconds / milliseconds,
      bench::median_ratio(small.copy, small.encode));
}

/// Answers at once: what is left is the cost of the call.
class InstantSampling final : public SamplingConnection {
 public:
  InstantSampling() {
    response_.sequences = {
        {std::vector<std::int32_t>(64, 7), std::vector<float>(64, -0.5f), StopReason::kLength, ""}};
  }
  const std::string& session_id() const override { return session_id_; }
  Future<SampleResponse> sample(const ModelInput&, std::int64_t, const SamplingParams&,
                                const SampleOptions&, const CallOptions&) override {
    return Future<SampleResponse>::ready_with(response_);
  }
  void close() override {}

 private:
  const std::string session_id_ = "instant";
  SampleResponse response_;
};

void bench_sample() {
  SamplingClient client(std::make_shared<InstantSampling>());
  const c10::IValue sampler(c10::make_intrusive<ScriptSamplingClient>(client, nullptr));
  const at::Tensor prompt = at::arange(256, at::kLong);
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("tinkex::sample", "");
  const auto direct = [&] {
    const ModelInput input =
        ModelInput::from_tokens(TensorData::view(prompt.data_ptr(), DType::kInt64, prompt.sizes()));
    if (!client.sample(input, 1, {.max_tokens = 64}).get().ok()) std::abort();
  };
  const auto through_dispatcher = [&] {
    torch::jit::Stack stack{sampler,       prompt,       1, 64, c10::IValue(), 1.0, -1, 1.0,
                            c10::IValue(), c10::IValue()};
    op.callBoxed(stack);
  };
  std::vector<double> extra;
  for (int round = 0; round < kRounds; ++round) {
    const double client_time = bench::seconds([&] {
      for (int i = 0; i < kCalls; ++i) direct();
    });
    const double op_time = bench::seconds([&] {
      for (int i = 0; i < kCalls; ++i) through_dispatcher();
    });
    extra.push_back((op_time - client_time) / kCalls * 1e6);
  }
  std::printf("torch.ops.tinkex.sample: %.2f us on top of the client's call (goal: below 20)\n",
              bench::median(extra));
}

}  // namespace

int main() {
  // Freed memory stays with the process: else it is by chance, namely by what the work before left
  // in its way, that one work is measured with memory at hand and the next pays for new pages.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  bench_encoding();
  bench_results();
  bench_sample();
  return 0;
}
