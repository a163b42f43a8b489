#include "tests/bench/model_worker.h"

#include <ATen/Parallel.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <vector>

#include "torch_ext/local/pretrained.h"
#include "torch_ext/local/sampler.h"
#include "torch_ext/local/weight_arena.h"

namespace tinkex::bench {
namespace {

namespace local = torch_ext::local;

constexpr std::int64_t kPrompt = 16;
constexpr std::int64_t kGemmSize = 1'024;
constexpr int kGemmRepeats = 8;

template <class F>
double seconds_of(F&& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Token `i` of sequence `row`: any, but always the same.
std::int64_t token(std::int64_t row, std::int64_t i, std::int64_t vocab) {
  return 3 + (row * 7'919 + i * 104'729) % (vocab - 3);
}

std::vector<Datum> batch_of(const ModelWork& work, std::int64_t vocab) {
  std::vector<Datum> batch;
  for (std::int64_t row = 0; row < work.sequences; ++row) {
    std::vector<std::int64_t> tokens;
    for (std::int64_t i = 0; i <= work.length; ++i) tokens.push_back(token(row, i, vocab));
    Datum datum;
    std::vector<std::int64_t> targets(tokens.begin() + 1, tokens.end());
    tokens.pop_back();
    datum.model_input = ModelInput::from_tokens(std::move(tokens));
    datum.loss_fn_inputs.emplace_back("target_tokens", TensorData::from(std::move(targets)));
    batch.push_back(std::move(datum));
  }
  return batch;
}

/// Of the weights that a token is computed with: an embedding that is not the head's matrix, too,
/// is looked up and not read.
std::size_t bytes_of(const local::BaseModel& model) {
  const bool tied = model.config().tie_word_embeddings;
  const std::int64_t read = model.parameter_count() - (tied ? 0 : model.embedding().numel());
  return static_cast<std::size_t>(read) * at::elementSize(model.dtype());
}

/// Reads that many bytes with all threads, eight at a time, and does nothing with them. They lie as
/// the weights do.
double plain_read(std::size_t bytes) {
  const auto words = static_cast<std::int64_t>(bytes / sizeof(std::uint64_t));
  static const at::Tensor tensor =
      local::WeightArena().empty({words}, at::ScalarType::Long).fill_(1);
  const auto* memory = tensor.const_data_ptr<std::int64_t>();
  std::atomic<std::int64_t> sum{0};
  const int threads = at::get_num_threads();
  const double took = seconds_of([&] {
    at::parallel_for(0, words, (words + threads - 1) / threads, [&](auto begin, auto end) {
      std::int64_t sums[8] = {};
      for (auto i = begin; i + 8 <= end; i += 8) {
        for (int k = 0; k < 8; ++k) sums[k] += memory[i + k];
      }
      for (const std::int64_t each : sums) sum += each;
    });
  });
  if (sum == 0) throw std::logic_error("the memory was not read");
  return took;
}

double gemm_flops() {
  const at::Tensor a = at::ones({kGemmSize, kGemmSize});
  const double took = seconds_of([&] {
    for (int i = 0; i < kGemmRepeats; ++i) at::matmul(a, a);
  });
  return 2.0 * kGemmRepeats * kGemmSize * kGemmSize * kGemmSize / took;
}

/// Most MiB that this process has held.
double peak_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double kib = 0;
    if (word == "VmHWM:" && status >> kib) return kib / 1'024;
  }
  throw std::runtime_error("/proc/self/status has no VmHWM");
}

}  // namespace

ModelWorker::ModelWorker(const std::string& path, const std::string& dtype, const ModelWork& work)
    : work_(work) {
  const auto type = dtype == "bfloat16" ? at::ScalarType::BFloat16 : at::ScalarType::Float;
  model_ = local::load_pretrained(path, type).value();
  run_ = local::TrainingRun::create(model_, {.rank = work.rank, .seed = 1}).value();
  batch_ = batch_of(work, model_->config().vocab_size);
}

double ModelWorker::train() {
  return seconds_of([&] {
    run_->forward_backward(batch_, "cross_entropy", {}, /*forward_only=*/false).value();
    run_->optim_step({}).value();
  });
}

double ModelWorker::sample(std::int64_t sequences, std::int64_t tokens) const {
  local::SampleRequest request;
  std::vector<std::int64_t> prompt;
  for (std::int64_t i = 0; i < kPrompt; ++i) {
    prompt.push_back(token(0, i, model_->config().vocab_size));
  }
  request.prompt = ModelInput::from_tokens(std::move(prompt));
  request.num_samples = sequences;
  request.params.max_tokens = tokens;
  request.params.seed = 1;
  request.params.stop.emplace();
  return seconds_of([&] { local::sample(model_, run_->snapshot(), request, nullptr).value(); });
}

double ModelWorker::decode(std::int64_t sequences) const {
  const double first = sample(sequences, 1);  // the prompt, and what does not grow with the length
  return (sample(sequences, 1 + work_.decoded) - first) / static_cast<double>(work_.decoded);
}

nlohmann::json ModelWorker::measure(const std::string& what) {
  if (what == "train") return train();
  if (what == "decode") return decode(1);
  if (what == "decode16") return decode(16);
  if (what == "read") return plain_read(bytes_of(*model_));
  if (what == "gemm") return gemm_flops();
  const double weights = static_cast<double>(bytes_of(*model_)) / (1 << 20);
  if (what == "memory") return {{"weights_mib", weights}, {"peak_mib", peak_mib()}};
  throw std::invalid_argument("'" + what + "' is nothing that is measured");
}

void serve_model(ModelWorker& worker) {
  std::cout << "\"ready\"" << std::endl;
  for (std::string what; std::getline(std::cin, what);) {
    std::cout << worker.measure(what).dump() << std::endl;
  }
}

}  // namespace tinkex::bench
