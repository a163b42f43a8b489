#include "torch_ext/local/folder_config.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "tinkex/base/text.h"
#include "torch_ext/local/io_error.h"
#include "torch_ext/local/json_file.h"
#include "torch_ext/local/rotary.h"

namespace tinkex::torch_ext::local {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::uint64_t kLargestFile = std::uint64_t{16} << 20;
constexpr std::string_view kFamilies[] = {"llama", "qwen2", "qwen3"};

/// What a JSON value is called in an error.
std::string shown(const Json& value) {
  return internal::printable(value.dump(-1, ' ', false, Json::error_handler_t::replace), 60);
}

/// Reads the fields of an object and remembers the first thing that is wrong. Null is absent.
class Fields {
 public:
  Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {}

  const Json* find(const char* name) const {
    const auto found = object_.find(name);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  std::int64_t integer(const char* name, std::optional<std::int64_t> absent = std::nullopt) {
    return take<std::int64_t>(name, absent, "a whole number", [](const Json& value) {
      return value.is_number_integer() && value <= INT64_MAX;
    });
  }
  double number(const char* name, std::optional<double> absent = std::nullopt) {
    return take<double>(name, absent, "a number", [](const Json& v) { return v.is_number(); });
  }
  bool flag(const char* name, bool absent) {
    return take<bool>(name, absent, "true or false", [](const Json& v) { return v.is_boolean(); });
  }
  std::string text(const char* name, std::optional<std::string> absent = std::nullopt) {
    return take<std::string>(name, std::move(absent), "a text",
                             [](const Json& v) { return v.is_string(); });
  }
  void refuse(std::string_view name, const std::string& what) {
    if (!problem_) problem_ = where_ + std::string(name) + " " + what;
  }
  void take_over(const Fields& part) {
    if (!problem_) problem_ = part.problem_;
  }
  const std::optional<std::string>& problem() const { return problem_; }

 private:
  template <class T, class Check>
  T take(const char* name, std::optional<T> absent, const char* expected, Check is_good) {
    const Json* value = find(name);
    if (value != nullptr && is_good(*value)) return value->get<T>();
    if (value != nullptr) {
      refuse(name, "is " + shown(*value) + ", expected " + expected);
    } else if (!absent) {
      refuse(name, "is missing");
    }
    return absent ? *std::move(absent) : T{};
  }

  const Json& object_;
  std::string where_;
  std::optional<std::string> problem_;
};

/// Fills a ModelConfig from config.json.
class ConfigReader {
 public:
  explicit ConfigReader(const Json& json) : fields_(json, "") {}

  Result<ModelConfig> read(const fs::path& file) {
    take_family();
    if (!fields_.problem()) {
      take_sizes();
      take_variants();
      take_rotary();
    }
    if (fields_.problem()) return file_error(file, *fields_.problem());
    return std::move(config_);
  }

 private:
  void take_family() {
    config_.family = fields_.text("model_type");
    if (fields_.problem()) return;
    if (std::ranges::find(kFamilies, config_.family) == std::end(kFamilies)) {
      fields_.refuse("model_type",
                     "is " + internal::quoted(config_.family) + ", expected llama, qwen2 or qwen3");
    }
  }

  void take_sizes() {
    config_.vocab_size = fields_.integer("vocab_size");
    config_.hidden_size = fields_.integer("hidden_size");
    config_.intermediate_size = fields_.integer("intermediate_size");
    config_.num_hidden_layers = fields_.integer("num_hidden_layers");
    config_.num_attention_heads = fields_.integer("num_attention_heads");
    config_.num_key_value_heads =
        fields_.integer("num_key_value_heads", config_.num_attention_heads);
    const std::int64_t heads = config_.num_attention_heads;
    const bool divides = heads > 0 && config_.hidden_size % heads == 0;
    config_.head_dim = fields_.integer(
        "head_dim", divides ? std::optional(config_.hidden_size / heads) : std::nullopt);
    config_.max_position_embeddings = fields_.integer("max_position_embeddings");
    config_.rms_norm_eps = fields_.number("rms_norm_eps", 1e-6);
  }

  void take_variants() {
    config_.tie_word_embeddings = fields_.flag("tie_word_embeddings", false);
    config_.attention_bias = config_.family == "qwen2";
    config_.qk_norm = config_.family == "qwen3";
    if (config_.family != "qwen2") must_be("attention_bias", false);
    must_be("mlp_bias", false);
    must_be("use_sliding_window", false);
    if (const std::string act = fields_.text("hidden_act", "silu"); act != "silu") {
      fields_.refuse("hidden_act", "is " + internal::quoted(act) + ", expected silu");
    }
    if (fields_.find("quantization_config") != nullptr) {
      fields_.refuse("quantization_config", "is there, but quantised weights are not supported");
    }
    if (const Json* layers = fields_.find("layer_types")) {
      const bool full = layers->is_array() && std::ranges::all_of(*layers, [](const Json& layer) {
                          return layer == "full_attention";
                        });
      if (!full) fields_.refuse("layer_types", "has another entry than full_attention");
    }
  }

  void must_be(const char* name, bool value) {
    if (fields_.flag(name, value) != value) {
      fields_.refuse(name, "is true, which is not supported");
    }
  }

  /// Newer files keep theta and scaling in `rope_parameters`.
  void take_rotary() {
    const Json* parameters = fields_.find("rope_parameters");
    const Json* scaling = parameters != nullptr ? parameters : fields_.find("rope_scaling");
    if (scaling != nullptr && !scaling->is_object()) {
      return fields_.refuse("rope_scaling", "is no object");
    }
    config_.rope_theta = fields_.number("rope_theta", 10000.0);
    const Json none = Json::object();
    Fields rope(scaling != nullptr ? *scaling : none,
                parameters != nullptr ? "rope_parameters." : "rope_scaling.");
    if (parameters != nullptr) config_.rope_theta = rope.number("rope_theta", config_.rope_theta);
    if (rope.number("partial_rotary_factor", fields_.number("partial_rotary_factor", 1)) != 1) {
      rope.refuse("partial_rotary_factor", "is not 1, which is not supported");
    }
    const std::string type = rope.text("rope_type", rope.text("type", "default"));
    const auto half =
        static_cast<std::size_t>(std::clamp<std::int64_t>(config_.head_dim, 0, 65536) / 2);
    if (type == "linear") {
      config_.rope_divisors.assign(half, rope.number("factor"));
    } else if (type == "llama3") {
      take_llama3(rope);
    } else if (type != "default") {
      rope.refuse("rope_type",
                  "is " + internal::quoted(type) + ", expected default, linear or llama3");
    }
    fields_.take_over(rope);
  }

  void take_llama3(Fields& rope) {
    const Llama3Scaling scaling{
        .factor = rope.number("factor"),
        .low_freq_factor = rope.number("low_freq_factor"),
        .high_freq_factor = rope.number("high_freq_factor"),
        .original_max_position_embeddings = rope.number("original_max_position_embeddings")};
    if (scaling.high_freq_factor <= scaling.low_freq_factor) {
      rope.refuse("high_freq_factor", "is not above low_freq_factor");
    }
    if (rope.problem() || config_.head_dim > 65536) return;
    config_.rope_divisors = llama3_divisors(scaling, config_.head_dim, config_.rope_theta);
  }

  Fields fields_;
  ModelConfig config_;
};

/// The ends of a text by a configuration; none if it does not tell.
Result<std::vector<std::int64_t>> ends_in(const Json& json, const fs::path& file) {
  std::vector<std::int64_t> ids;
  const auto ends = json.find("eos_token_id");
  if (ends == json.end() || ends->is_null()) return ids;
  const Json list = ends->is_array() ? *ends : Json::array({*ends});
  for (const Json& end : list) {
    if (!end.is_number_integer() || end > INT64_MAX) {
      return file_error(file, "eos_token_id is " + shown(*ends) + ", expected token ids");
    }
    ids.push_back(end.get<std::int64_t>());
  }
  return ids;
}

}  // namespace

Result<FolderTokens> folder_tokens(const fs::path& folder) {
  FolderTokens tokens;
  // The later one says better what ends a text.
  for (const char* name : {"config.json", "generation_config.json"}) {
    const fs::path file = folder / name;
    std::error_code problem;
    if (!fs::exists(file, problem)) continue;
    const Result<Json> json = read_json_object(file, kLargestFile);
    if (!json) return json.error();
    Result<std::vector<std::int64_t>> ends = ends_in(*json, file);
    if (!ends) return ends.error();
    if (!ends->empty()) tokens.ends = *std::move(ends);
    const auto size = json->find("vocab_size");
    if (size != json->end() && size->is_number_integer() && *size <= INT64_MAX) {
      tokens.vocab_size = size->get<std::int64_t>();
    }
  }
  return tokens;
}

Result<ModelConfig> folder_config(const fs::path& folder) {
  const fs::path file = folder / "config.json";
  const Result<Json> json = read_json_object(file, kLargestFile);
  if (!json) return json.error();
  Result<ModelConfig> config = ConfigReader(*json).read(file);
  if (!config) return config;
  Result<FolderTokens> tokens = folder_tokens(folder);
  if (!tokens) return tokens.error();
  config->eos_token_ids = std::move(tokens->ends);
  config->name = model_name_of(folder);
  if (Status valid = validate(*config); !valid) return file_error(file, valid.error().message());
  return config;
}

}  // namespace tinkex::torch_ext::local
