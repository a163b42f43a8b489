#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "torch_ext/local/base_model.h"
#include "torch_ext/local/training_run.h"

namespace tinkex::bench {

/// The size of what is measured.
struct ModelWork {
  std::int64_t sequences = 8;  ///< Of a training batch.
  std::int64_t length = 128;   ///< Tokens of each.
  std::int64_t decoded = 64;   ///< Tokens that are sampled for each sequence.
  std::int64_t rank = 32;
};

/// The engine with one model, asked for one figure at a time. Errors are thrown.
///
/// Threads: all calls on the thread that made it, with the threads that LibTorch has there.
class ModelWorker {
 public:
  /// `dtype` of the frozen matrices: "float32" or "bfloat16".
  ModelWorker(const std::string& path, const std::string& dtype, const ModelWork& work);

  /// `train`: seconds of a step, which is forward_backward and optim_step.
  /// `decode`, `decode16`: seconds that a token costs one sequence, or sixteen at once.
  /// `read`: seconds of a plain read of as many bytes as the weights have.
  /// `gemm`: floating-point operations a second of a product of large float32 matrices.
  /// `memory`: MiB of the weights, and the most that the process held; to be asked before the two
  /// above, which take memory of their own.
  nlohmann::json measure(const std::string& what);

 private:
  double train();
  double decode(std::int64_t sequences) const;
  double sample(std::int64_t sequences, std::int64_t tokens) const;

  const ModelWork work_;
  std::shared_ptr<const torch_ext::local::BaseModel> model_;
  std::unique_ptr<torch_ext::local::TrainingRun> run_;
  std::vector<Datum> batch_;
};

/// Measures what standard input names, a word a line, and prints a line of JSON for each; "ready"
/// before the first.
void serve_model(ModelWorker& worker);

}  // namespace tinkex::bench
