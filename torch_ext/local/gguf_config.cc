#include "torch_ext/local/gguf_config.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tinkex/base/text.h"

namespace tinkex::torch_ext::local {
namespace {

constexpr std::string_view kArchitectures[] = {"llama", "qwen2", "qwen3"};

/// Fills a ModelConfig and remembers the first error.
class ConfigReader {
 public:
  explicit ConfigReader(const GgufFile& file) : file_(file) {}

  Result<ModelConfig> read() {
    take_architecture();
    if (!problem_) take_sizes();
    if (!problem_) take_vocabulary();
    if (!problem_) take_positions();
    if (!problem_) take_ends();
    if (problem_) return *problem_;
    const Status valid = validate(config_);
    if (!valid) return file_.error(valid.error().message());
    return std::move(config_);
  }

 private:
  void take_architecture() {
    architecture_ = take(file_.text("general.architecture"));
    if (problem_) return;
    if (std::find(std::begin(kArchitectures), std::end(kArchitectures), architecture_) ==
        std::end(kArchitectures)) {
      return refuse("architecture " + internal::quoted(architecture_) +
                    " is not supported; expected llama, qwen2 or qwen3");
    }
    if (file_.contains("split.count") && take(file_.integer("split.count")) > 1) {
      return refuse("it is a part of a split model; join the parts with llama-gguf-split --merge");
    }
  }

  void take_sizes() {
    config_.name = internal::printable(file_.path().stem().string(), 200);
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
    if (file_.contains(key("rope.scaling.type"))) {
      const std::string_view scaling = take(file_.text(key("rope.scaling.type")));
      if (!problem_ && scaling != "none") {
        return refuse("scaling of rotary positions by " + internal::quoted(scaling) +
                      " is not supported");
      }
    }
    if (file_.contains(key("rope.scale_linear")) &&
        take(file_.number(key("rope.scale_linear"))) != 1.0 && !problem_) {
      return refuse("linear scaling of rotary positions is not supported");
    }
    const GgufTensor* divisors = file_.find("rope_freqs.weight");
    if (divisors == nullptr) return;
    std::vector<float> numbers(static_cast<std::size_t>(divisors->elements()));
    take(file_.widen(*divisors, numbers));
    config_.rope_divisors.assign(numbers.begin(), numbers.end());
  }

  void take_ends() {
    for (const char* name : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
      if (!file_.contains(name)) continue;
      const std::int64_t token = take(file_.integer(name));
      std::vector<std::int64_t>& ends = config_.eos_token_ids;
      if (std::find(ends.begin(), ends.end(), token) == ends.end()) ends.push_back(token);
    }
  }

  std::string key(std::string_view name) const {
    return std::string(architecture_) + "." + std::string(name);
  }

  std::int64_t integer(std::string_view name, std::optional<std::int64_t> absent = std::nullopt) {
    if (absent && !file_.contains(key(name))) return *absent;
    return take(file_.integer(key(name)));
  }

  /// The decimal number that somebody wrote, 1e-5 for example, which the file has as float32.
  double take_decimal(const std::string& key) {
    const double stored = take(file_.number(key));
    const auto narrow = static_cast<float>(stored);
    if (static_cast<double>(narrow) != stored) return stored;  // it has float64
    char text[32];
    const auto written = std::to_chars(text, text + sizeof(text), narrow);
    double decimal = stored;
    std::from_chars(text, written.ptr, decimal);
    return decimal;
  }

  template <class T>
  T take(Result<T> result) {
    if (result) return *result;
    if (!problem_) problem_ = result.error();
    return T{};
  }

  void refuse(const std::string& what) {
    if (!problem_) problem_ = file_.error(what);
  }

  const GgufFile& file_;
  std::string_view architecture_;
  ModelConfig config_;
  std::optional<Error> problem_;
};

}  // namespace

Result<ModelConfig> gguf_config(const GgufFile& file) { return ConfigReader(file).read(); }

}  // namespace tinkex::torch_ext::local
