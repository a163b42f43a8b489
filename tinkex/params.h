#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace tinkex {

/// Names of the API's own losses. Any other name is passed through to the server.
namespace loss {
inline constexpr char kCrossEntropy[] = "cross_entropy";
inline constexpr char kImportanceSampling[] = "importance_sampling";
inline constexpr char kPpo[] = "ppo";
inline constexpr char kCispo[] = "cispo";
inline constexpr char kDro[] = "dro";
inline constexpr char kGspo[] = "gspo";
}  // namespace loss

/// Settings of a loss by name: a number, or (since SDK 0.38) a text.
using LossConfigValue = std::variant<double, std::string>;
using LossConfig = std::map<std::string, LossConfigValue>;

/// AdamW settings of one optimizer step; nothing is remembered from the step before. The defaults
/// are the API's own, not PyTorch's, which are those of RemoteAdamW (torch_ext/remote_adamw.h).
struct AdamParams {
  double learning_rate = 1e-4;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-12;
  double weight_decay = 0.0;    ///< Decoupled, as in AdamW.
  double grad_clip_norm = 0.0;  ///< Global L2 norm over all gradients; 0 switches clipping off.
};

/// Shape of the low-rank adapters that are trained.
struct LoraConfig {
  std::int64_t rank = 32;
  /// Makes the initialisation reproducible; at least 0. Absent: the server draws one.
  std::optional<std::int64_t> seed = std::nullopt;
  bool train_attn = true;     ///< q, k, v, o projections.
  bool train_mlp = true;      ///< gate, up, down projections.
  bool train_unembed = true;  ///< The output projection.
};

/// How tokens are drawn.
struct SamplingParams {
  /// Most tokens to generate. Absent: up to the server's limit.
  std::optional<std::int64_t> max_tokens = std::nullopt;
  std::optional<std::uint64_t> seed = std::nullopt;
  double temperature = 1.0;  ///< 0 takes the likeliest token.
  std::int64_t top_k = -1;   ///< -1 switches it off.
  double top_p = 1.0;        ///< 1 switches it off.
  /// A text or a token id that ends a sequence. A text is looked for in what the tokens decode to,
  /// where special tokens leave no text (so the embedded backend): for `<|im_end|>` give its id.
  using Stop = std::variant<std::string, std::int64_t>;
  /// Absent: the model's own end-of-sequence tokens stop. Empty: nothing stops.
  std::optional<std::vector<Stop>> stop = std::nullopt;
};

/// What to report about a prompt beside the samples.
struct SampleOptions {
  bool prompt_logprobs = false;
  /// Likeliest tokens to report per prompt position, at most 2^20, and no more than the vocabulary
  /// has in the embedded backend; above 0 it implies prompt_logprobs.
  std::int64_t topk_prompt_logprobs = 0;
};

}  // namespace tinkex
