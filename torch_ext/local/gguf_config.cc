#include "torch_ext/local/gguf_config.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tinkex/base/text.h"
#include "torch_ext/local/first_error.h"
#include "torch_ext/local/gguf_vocabulary.h"

namespace tinkex::torch_ext::local {
namespace {

constexpr std::string_view kArchitectures[] = {"llama", "qwen2", "qwen3"};

/// Fills a ModelConfig.
class ConfigReader {
 public:
  explicit ConfigReader(const GgufFile& file) : file_(file) {}

  Result<ModelConfig> read() {
    take_architecture();
    if (!first_) take_sizes();
    if (!first_) take_vocabulary();
    if (!first_) take_positions();
    config_.eos_token_ids = first_.take(gguf_ends(file_));
    if (first_) return *first_;
    const Status valid = validate(config_);
    if (!valid) return file_.error(valid.error().message());
    return std::move(config_);
  }

 private:
  void take_architecture() {
    architecture_ = first_.take(file_.text("general.architecture"));
    if (first_) return;
    config_.family = std::string(architecture_);
    if (std::find(std::begin(kArchitectures), std::end(kArchitectures), architecture_) ==
        std::end(kArchitectures)) {
      return refuse("architecture " + internal::quoted(architecture_) +
                    " is not supported; expected llama, qwen2 or qwen3");
    }
    if (file_.contains("split.count") && first_.take(file_.integer("split.count")) > 1) {
      return refuse("it is a part of a split model; join the parts with llama-gguf-split --merge");
    }
  }

  void take_sizes() {
    config_.name = model_name_of(file_.path());
    config_.hidden_size = integer("embedding_length");
    config_.intermediate_size = integer("feed_forward_length");
    config_.num_hidden_layers = integer("block_count");
    config_.num_attention_heads = integer("attention.head_count");
    config_.num_key_value_heads = integer("attention.head_count_kv", config_.num_attention_heads);
    config_.max_position_embeddings = integer("context_length");
    config_.rms_norm_eps = take_decimal(key("attention.layer_norm_rms_epsilon"));
    config_.head_dim = integer("attention.key_length", default_head_dim());
    require_head_dim("attention.value_length");
    require_head_dim("rope.dimension_count");
    // Whoever lists the tensors of the layers need not fear the number.
    if (config_.num_hidden_layers > static_cast<std::int64_t>(file_.tensors().size())) {
      refuse("it has " + std::to_string(file_.tensors().size()) + " tensors for " +
             std::to_string(config_.num_hidden_layers) + " layers");
    }
  }

  /// 0, which is refused later, where there is none.
  std::int64_t default_head_dim() const {
    const std::int64_t heads = config_.num_attention_heads;
    return heads > 0 && config_.hidden_size % heads == 0 ? config_.hidden_size / heads : 0;
  }

  void require_head_dim(std::string_view name) {
    const std::int64_t given = integer(name, config_.head_dim);
    if (given == config_.head_dim) return;
    refuse("metadata '" + key(name) + "' is " + std::to_string(given) + ", but heads have " +
           std::to_string(config_.head_dim) + " dimensions");
  }

  void take_vocabulary() {
    const GgufTensor* embedding = file_.find("token_embd.weight");
    if (embedding == nullptr || embedding->shape.size() != 2) {
      return refuse("tensor 'token_embd.weight' is missing or no matrix");
    }
    config_.vocab_size = embedding->shape[0];
    config_.tie_word_embeddings = file_.find("output.weight") == nullptr;
    config_.attention_bias = architecture_ == "qwen2" || file_.find("blk.0.attn_q.bias") != nullptr;
    config_.qk_norm = architecture_ == "qwen3";
  }

  void take_positions() {
    if (file_.contains(key("rope.freq_base"))) {
      config_.rope_theta = take_decimal(key("rope.freq_base"));
    }
    if (const GgufTensor* divisors = file_.find("rope_freqs.weight")) {
      std::vector<float> numbers(static_cast<std::size_t>(divisors->elements()));
      first_.take(file_.widen(*divisors, numbers));
      config_.rope_divisors.assign(numbers.begin(), numbers.end());
    }
    const double factor = linear_factor();
    if (factor == 1) return;
    if (config_.rope_divisors.empty()) {
      const auto half = std::clamp<std::int64_t>(config_.head_dim, 0, 65536) / 2;
      config_.rope_divisors.assign(static_cast<std::size_t>(half), 1);
    }
    for (double& divisor : config_.rope_divisors) divisor *= factor;
  }

  /// What positions are divided by. As in llama.cpp, a factor without a type is linear, one of 0
  /// means 1, and older files call it scale_linear.
  double linear_factor() {
    std::string_view type = "linear";
    if (file_.contains(key("rope.scaling.type"))) {
      type = first_.take(file_.text(key("rope.scaling.type")));
    }
    if (type == "none" || first_) return 1;
    if (type != "linear") {
      refuse("scaling of rotary positions by " + internal::quoted(type) + " is not supported");
      return 1;
    }
    for (const char* name : {"rope.scaling.factor", "rope.scale_linear"}) {
      if (!file_.contains(key(name))) continue;
      const double factor = take_decimal(key(name));
      return factor == 0 ? 1 : factor;
    }
    return 1;
  }

  std::string key(std::string_view name) const {
    return std::string(architecture_) + "." + std::string(name);
  }

  std::int64_t integer(std::string_view name, std::optional<std::int64_t> absent = std::nullopt) {
    if (absent && !file_.contains(key(name))) return *absent;
    return first_.take(file_.integer(key(name)));
  }

  /// The decimal number that somebody wrote, 1e-5 for example, which the file has as float32.
  double take_decimal(const std::string& key) {
    const double stored = first_.take(file_.number(key));
    const auto narrow = static_cast<float>(stored);
    if (static_cast<double>(narrow) != stored) return stored;  // it has float64
    char text[32];
    const auto written = std::to_chars(text, text + sizeof(text), narrow);
    double decimal = stored;
    std::from_chars(text, written.ptr, decimal);
    return decimal;
  }

  void refuse(const std::string& what) { first_.add(file_.error(what)); }

  const GgufFile& file_;
  std::string_view architecture_;
  ModelConfig config_;
  FirstError first_;
};

}  // namespace

Result<ModelConfig> gguf_config(const GgufFile& file) { return ConfigReader(file).read(); }

}  // namespace tinkex::torch_ext::local
