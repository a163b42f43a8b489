// What RemoteModel costs on top of the C++ client: the same calls on a connection that answers at
// once, by turns, and of a loss of autograd the same gradient. And what a loop of it on the
// embedded backend costs beside the engine itself.
//
// ./bazelw run -c opt //tests/bench:remote
// ./bazelw run -c opt //tests/bench:remote -- --model MODEL --examples 4 --tokens 32

#include <ATen/ops/arange.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "tests/bench/encoding.h"
#include "tests/bench/measurement.h"
#include "tests/bench/remote_loop.h"
#include "tests/torch_ext/fake_connections.h"
#include "torch_ext/datum_convert.h"
#include "torch_ext/remote_adamw.h"
#include "torch_ext/remote_model.h"

namespace {

using namespace tinkex;
using namespace tinkex::torch_ext;

constexpr int kRounds = 31;
constexpr int kCalls = 500;
constexpr std::int64_t kTokens = 16;

double microseconds_a_call(auto&& call) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kCalls; ++i) call();
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
  return took.count() / kCalls;
}

/// Prints the medians of both and of their difference, of which each of `calls` has its part.
void compare(const char* what, int calls, auto&& client, auto&& model) {
  std::vector<double> ours, theirs, more;
  for (int round = 0; round < kRounds; ++round) {
    theirs.push_back(microseconds_a_call(client));
    ours.push_back(microseconds_a_call(model));
    more.push_back(ours.back() - theirs.back());
  }
  std::printf(
      "%-28s client %6.2f us, RemoteModel %6.2f us, %+6.2f us in all, %+6.2f us a call (goal: "
      "below "
      "+20)\n",
      what, bench::median(theirs), bench::median(ours), bench::median(more),
      bench::median(more) / calls);
}

/// The gradient of a loss with respect to log-probabilities, as who has the client alone takes it:
/// what autograd and the loss itself cost is not RemoteModel's.
at::Tensor gradient_by_hand(const ForwardBackwardOutput& output) {
  at::Tensor logprobs = to_tensor(*find(output.loss_fn_outputs.front(), "logprobs"));
  logprobs.requires_grad_();
  logprobs.sum().backward();
  return logprobs.grad();
}

void bench_calls() {
  const auto connection = std::make_shared<FakeTraining>();
  connection->output->loss_fn_outputs = {
      {{"logprobs", TensorData::from(std::vector<float>(kTokens, -1.0F))}}};
  connection->output->metrics = {{"loss:sum", 1.0}};
  TrainingClient client(connection);
  RemoteModel model{TrainingClient(connection)};
  RemoteAdamW optimizer(model);
  const std::vector<at::Tensor> tokens{at::arange(kTokens)};
  const LossBatch batch{tokens, {{"target_tokens", tokens}}};
  const auto datums = [&] { return borrow_datums(batch.tokens, batch.inputs).value(); };

  compare(
      "forward", 1, [&] { client.forward(datums(), loss::kCrossEntropy).get().value(); },
      [&] { model->forward_list(tokens, tokens); });
  compare(
      "a loss of the server, step", 2,
      [&] {
        client.forward_backward(datums(), loss::kCrossEntropy).get().value();
        client.optim_step().get().value();
      },
      [&] {
        model->loss(loss::kCrossEntropy, batch).backward();
        optimizer.step();
      });
  compare(
      "a loss of autograd, step", 3,
      [&] {
        const auto output = client.forward(datums(), loss::kCrossEntropy).get().value();
        const std::vector<at::Tensor> weights{gradient_by_hand(output).neg()};
        const NamedTensorLists inputs{{"target_tokens", tokens}, {"weights", weights}};
        const auto weighted = borrow_datums(tokens, inputs).value();
        client.forward_backward(weighted, loss::kCrossEntropy).get().value();
        client.optim_step().get().value();
      },
      [&] {
        model->forward_list(tokens, tokens).front().sum().backward();
        optimizer.step();
      });
}

/// The log-probabilities of such a batch as the decoder makes them: in one block.
ForwardBackwardOutput reply_of(std::size_t rows, std::size_t length) {
  const auto block = std::make_shared<std::vector<float>>(rows * length, -1.0F);
  ForwardBackwardOutput output;
  for (std::size_t row = 0; row < rows; ++row) {
    output.loss_fn_outputs.push_back(
        {{"logprobs", TensorData::share(block, block->data() + row * length, DType::kFloat32,
                                        {static_cast<std::int64_t>(length)})}});
  }
  return output;
}

/// Of a batch whose size costs: what RemoteModel adds to a client whose connection encodes the
/// batch, beside a memcpy of what it keeps and gives.
void bench_large_forward(std::int64_t rows, std::int64_t length) {
  const auto connection = std::make_shared<FakeTraining>();
  ByteBuffer body;
  connection->look = [&](std::span<const Datum> data) {
    bench::encode_all(wire::proto_codec(), bench::default_chunks(data), body);
  };
  connection->output = reply_of(static_cast<std::size_t>(rows), static_cast<std::size_t>(length));
  TrainingClient client(connection);
  RemoteModel model{TrainingClient(connection)};
  const at::Tensor tokens = at::arange(rows * length).remainder(150'000).view({rows, length});
  const std::vector<at::Tensor> lists = tokens.unbind();
  const NamedTensorLists inputs{{"target_tokens", lists}};
  const std::size_t bytes = 2 * tokens.nbytes() + tokens.nbytes() / 2;
  std::vector<char> source(bytes, 'x');
  std::vector<double> theirs, ours, flat, copies, more;
  for (int round = 0; round < kRounds; ++round) {
    theirs.push_back(bench::seconds([&] {
      client.forward(borrow_datums(lists, inputs).value(), loss::kCrossEntropy).get().value();
    }));
    ours.push_back(bench::seconds([&] { model->forward(tokens, tokens); }));
    flat.push_back(bench::seconds([&] { model->forward_list(lists, lists); }));
    copies.push_back(bench::seconds([&] {
      const std::vector<char> copy(source);
      asm volatile("" : : "r"(copy.data()) : "memory");
    }));
    more.push_back(ours.back() - theirs.back());
  }
  std::printf(
      "forward of %lld x %lld  client %6.2f ms, RemoteModel %6.2f ms (lists %6.2f ms), %+6.2f ms, "
      "where a copy of its ids and results takes %.2f ms: %.2f times\n",
      static_cast<long long>(rows), static_cast<long long>(length), bench::median(theirs) * 1e3,
      bench::median(ours) * 1e3, bench::median(flat) * 1e3, bench::median(more) * 1e3,
      bench::median(copies) * 1e3, bench::median_ratio(more, copies));
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app("What RemoteModel costs beside the C++ client, and beside the engine itself.");
  bench::LoopOptions loop;
  app.add_option("--model", loop.model, "a GGUF file or a folder of Hugging Face's");
  app.add_option("--examples", loop.examples, "in a batch of the loop");
  app.add_option("--tokens", loop.tokens, "of each example");
  app.add_option("--rounds", loop.rounds, "steps that are measured");
  CLI11_PARSE(app, argc, argv);
  bench_calls();
  // Freed memory stays with the process: else the system's new pages are measured, too.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  bench_large_forward(128, 32'768);
  bench_large_forward(2048, 400);
  bench::bench_loop(loop);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
