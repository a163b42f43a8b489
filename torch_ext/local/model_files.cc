#include "torch_ext/local/model_files.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/tokenizer_writer.h"
#include "torch_ext/local/file_io.h"
#include "torch_ext/local/gguf_vocabulary.h"
#include "torch_ext/local/rotary.h"

namespace tinkex::torch_ext::local {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// What transformers may have written beside the weights.
constexpr const char* kCopied[] = {
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
};

const char* class_of(std::string_view family) {
  if (family == "qwen2") return "Qwen2ForCausalLM";
  return family == "qwen3" ? "Qwen3ForCausalLM" : "LlamaForCausalLM";
}

bool nearly_equal(const std::vector<double>& a, const std::vector<double>& b) {
  // A GGUF file has them as float32.
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](double x, double y) { return std::abs(x - y) <= 1e-5 * std::abs(y); });
}

/// `rope_scaling`; nothing for divisors that it cannot express. They are not empty.
std::optional<Json> scaling_of(const ModelConfig& config) {
  const std::vector<double>& divisors = config.rope_divisors;
  if (std::ranges::all_of(divisors, [&](double each) { return each == divisors.front(); })) {
    if (divisors.front() == 1) return Json();
    return Json{{"rope_type", "linear"}, {"factor", divisors.front()}};
  }
  // A GGUF file has the divisors alone. The other three numbers are those of all Llamas since 3.1.
  const Llama3Scaling llama3{.factor = std::round(divisors.back())};
  if (!nearly_equal(divisors, llama3_divisors(llama3, config.head_dim, config.rope_theta))) {
    return std::nullopt;
  }
  return Json{{"rope_type", "llama3"},
              {"factor", llama3.factor},
              {"low_freq_factor", llama3.low_freq_factor},
              {"high_freq_factor", llama3.high_freq_factor},
              {"original_max_position_embeddings",
               static_cast<std::int64_t>(llama3.original_max_position_embeddings)}};
}

/// A token id, or null.
Json end_of(const std::vector<std::int64_t>& ids) {
  if (ids.empty()) return nullptr;
  return ids.size() == 1 ? Json(ids.front()) : Json(ids);
}

}  // namespace

Result<Json> config_json(const ModelConfig& config) {
  if (config.attention_bias != (config.family == "qwen2")) {
    return invalid_argument("config.json cannot express a " + config.family +
                            (config.attention_bias ? " with" : " without") +
                            " biases of query, key and value");
  }
  std::optional<Json> scaling = Json();
  if (!config.rope_divisors.empty()) scaling = scaling_of(config);
  if (!scaling) {
    return invalid_argument(
        "config.json cannot express the divisors of the rotary frequencies (rope_freqs.weight): "
        "they are neither equal nor those of Llama 3.1");
  }
  return Json{{"architectures", Json::array({class_of(config.family)})},
              {"model_type", config.family},
              {"vocab_size", config.vocab_size},
              {"hidden_size", config.hidden_size},
              {"intermediate_size", config.intermediate_size},
              {"num_hidden_layers", config.num_hidden_layers},
              {"num_attention_heads", config.num_attention_heads},
              {"num_key_value_heads", config.num_key_value_heads},
              {"head_dim", config.head_dim},
              {"hidden_act", "silu"},
              {"max_position_embeddings", config.max_position_embeddings},
              {"rms_norm_eps", config.rms_norm_eps},
              {"rope_theta", config.rope_theta},
              {"rope_scaling", *std::move(scaling)},
              {"tie_word_embeddings", config.tie_word_embeddings},
              {"attention_dropout", 0.0},
              {"bos_token_id", nullptr},
              {"eos_token_id", end_of(config.eos_token_ids)},
              {"use_cache", true}};
}

Status write_tokenizer(const GgufFile& file, const fs::path& folder) {
  const Result<tokenizers::GgufVocabulary> vocabulary = gguf_vocabulary(file);
  if (!vocabulary) return vocabulary.error();
  const Result<std::vector<std::int64_t>> ends = gguf_ends(file);
  if (!ends) return ends.error();
  const Result<std::string> json = tokenizers::write_tokenizer_json(*vocabulary);
  if (!json) return file.error(json.error().message());
  Json config{{"tokenizer_class", "PreTrainedTokenizerFast"},
              {"clean_up_tokenization_spaces", false}};
  const auto name_token = [&](const char* name, std::optional<std::int64_t> id) {
    if (!id || *id < 0 || *id >= static_cast<std::int64_t>(vocabulary->tokens.size())) return;
    config[name] = vocabulary->tokens[static_cast<std::size_t>(*id)];
  };
  name_token("bos_token", vocabulary->bos_token);
  if (!ends->empty()) name_token("eos_token", ends->front());
  constexpr std::string_view kTemplate = "tokenizer.chat_template";
  if (file.contains(kTemplate)) {
    const Result<std::string_view> text = file.text(kTemplate);
    if (!text) return text.error();
    if (internal::is_utf8(*text)) config["chat_template"] = *text;
  }
  Status written = write_file(folder / "tokenizer.json", *json);
  return written ? write_file(folder / "tokenizer_config.json", config.dump(2) + "\n") : written;
}

Status copy_tokenizer(const fs::path& from, const fs::path& to) {
  for (const char* name : kCopied) {
    std::error_code missing;
    if (!fs::exists(from / name, missing)) continue;
    if (Status copied = copy_durably(from / name, to / name); !copied) return copied;
  }
  return ok_status();
}

}  // namespace tinkex::torch_ext::local
