#pragma once

// Small models, batches and short cuts for the tests of the numeric engine.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/datum.h"
#include "torch_ext/local/adapter.h"
#include "torch_ext/local/base_model.h"
#include "torch_ext/local/model_pass.h"
#include "torch_ext/local/sampler.h"
#include "torch_ext/local/training_run.h"

namespace tinkex::torch_ext::local::testing {

using Weights = std::map<std::string, at::Tensor>;

/// Two layers, grouped queries, heads * head_dim other than hidden_size.
ModelConfig small_config();
/// Weights under their Hugging Face names, with norms other than 1.
Weights random_weights(const ModelConfig& config, std::uint64_t seed);
/// A float64 or float32 model of these weights.
std::shared_ptr<const BaseModel> model_of(const ModelConfig& config, const Weights& weights,
                                          at::ScalarType dtype);
std::shared_ptr<const BaseModel> small_model(at::ScalarType dtype);

/// An adapter whose B matrices are not zero, so that A has a gradient.
std::shared_ptr<const Adapter> noisy_adapter(const BaseModel& model, const LoraConfig& config,
                                             std::uint64_t seed);
LoraConfig rank(std::int64_t rank);

/// Reproducible tokens and numbers.
std::vector<std::int64_t> random_tokens(std::int64_t count, std::int64_t vocab, std::uint64_t seed);
std::vector<float> random_floats(std::size_t count, float low, float high, std::uint64_t seed);

Datum cross_entropy_datum(std::vector<std::int64_t> tokens, std::vector<std::int64_t> targets,
                          std::vector<float> weights);
Datum policy_datum(std::vector<std::int64_t> tokens, std::vector<std::int64_t> targets,
                   std::vector<float> sampled, std::vector<float> advantages);
/// Datums of different lengths with random weights of both signs.
std::vector<Datum> cross_entropy_batch(std::int64_t vocab, std::uint64_t seed);
/// The same tokens with advantages and with sampled logprobs near `logprobs` (within `spread`).
std::vector<Datum> policy_batch(const std::vector<Datum>& tokens,
                                const std::vector<std::vector<float>>& logprobs, float spread,
                                std::uint64_t seed);

/// Validates and runs; throws the Error on failure.
PassOutput pass(const BaseModel& model, const Adapter& adapter, const std::vector<Datum>& data,
                std::string_view loss = "cross_entropy", bool with_gradient = true,
                const LossConfig& config = {}, const PassOptions& options = {},
                const LogitsLosses& own = {});

/// How many threads ATen uses, as long as it exists.
class Threads {
 public:
  explicit Threads(int count);
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  ~Threads();

 private:
  const int before_;
};

/// |a - b| / |b| in the L2 norm.
double relative_error(const at::Tensor& a, const at::Tensor& b);
/// Of the same type and shape, and the same bytes: 0 is not -0, and a NaN is itself.
bool bit_equal(const at::Tensor& a, const at::Tensor& b);
/// Largest absolute difference of two lists of equal shape.
double largest_gap(const std::vector<std::vector<float>>& a,
                   const std::vector<std::vector<float>>& b);

}  // namespace tinkex::torch_ext::local::testing
