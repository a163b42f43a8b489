#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "tinkex/error.h"
#include "tinkex/tokenizer.h"

namespace tinkex::torch_ext::local {

/// What the files beside a tokenizer.json tell. Errors are kIo and name the file.
class TokenizerConfig {
 public:
  /// Reads the tokenizer_config.json of a folder. Where there is none it tells nothing.
  static Result<TokenizerConfig> open(const std::filesystem::path& folder);

  /// The text of a token, such as "eos_token"; nullopt if it is not told. The file has it as a
  /// text, or in an object.
  Result<std::optional<std::string>> token(const std::string& name) const;

  /// The template of chat_template.jinja, else that of tokenizer_config.json: its only one, or of
  /// several that which is called "default". Null if there is none.
  ChatTemplateResult chat_template() const;

  /// An error about tokenizer_config.json.
  Error error(const std::string& what) const;

 private:
  TokenizerConfig(std::filesystem::path folder, nlohmann::json content)
      : folder_(std::move(folder)), content_(std::move(content)) {}

  Result<std::optional<std::string>> template_text() const;
  ChatTemplateResult parsed(const std::filesystem::path& file, const std::string& text) const;

  std::filesystem::path folder_;
  nlohmann::json content_;
};

}  // namespace tinkex::torch_ext::local
