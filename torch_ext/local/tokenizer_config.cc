#include "torch_ext/local/tokenizer_config.h"

#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>

#include "tinkex/chat_template.h"
#include "torch_ext/local/file_io.h"
#include "torch_ext/local/json_file.h"

namespace tinkex::torch_ext::local {
namespace {

namespace fs = std::filesystem;
using Text = Result<std::optional<std::string>>;

constexpr std::uint64_t kLargestConfig = std::uint64_t{16} << 20;
constexpr char kConfigFile[] = "tokenizer_config.json";
constexpr char kTemplateFile[] = "chat_template.jinja";

bool is_there(const fs::path& file) {
  std::error_code missing;
  return fs::exists(file, missing);
}

}  // namespace

Result<TokenizerConfig> TokenizerConfig::open(const fs::path& folder) {
  const fs::path file = folder / kConfigFile;
  if (!is_there(file)) return TokenizerConfig(folder, nlohmann::json::object());
  Result<nlohmann::json> content = read_json_object(file, kLargestConfig);
  if (!content) return content.error();
  return TokenizerConfig(folder, *std::move(content));
}

Text TokenizerConfig::token(const std::string& name) const {
  const auto found = content_.find(name);
  if (found == content_.end() || found->is_null()) return std::optional<std::string>();
  const nlohmann::json token =
      found->is_object() ? found->value("content", nlohmann::json()) : *found;
  if (!token.is_string()) return error(name + " is no text");
  return std::optional(token.get<std::string>());
}

Text TokenizerConfig::template_text() const {
  const auto found = content_.find("chat_template");
  if (found == content_.end() || found->is_null()) return std::optional<std::string>();
  if (found->is_string()) return std::optional(found->get<std::string>());
  if (!found->is_array()) return error("chat_template is neither a text nor a list of named ones");
  for (const nlohmann::json& each : *found) {
    if (!each.is_object() || each.value("name", nlohmann::json()) != "default") continue;
    const nlohmann::json text = each.value("template", nlohmann::json());
    if (text.is_string()) return std::optional(text.get<std::string>());
  }
  return error("of the texts in chat_template none is called \"default\"");
}

ChatTemplateResult TokenizerConfig::parsed(const fs::path& file, const std::string& text) const {
  const Text bos = token("bos_token");
  if (!bos) return bos.error();
  const Text eos = token("eos_token");
  if (!eos) return eos.error();
  Result<ChatTemplate> made = ChatTemplate::parse(text, bos->value_or(""), eos->value_or(""));
  if (!made) return file_error(file, made.error().message());
  return ChatTemplateResult(std::make_shared<const ChatTemplate>(*std::move(made)));
}

ChatTemplateResult TokenizerConfig::chat_template() const {
  const fs::path file = folder_ / kTemplateFile;
  if (is_there(file)) {
    const Result<std::string> text = read_file(file, ChatTemplate::kLongestText);
    return text ? parsed(file, *text) : text.error();
  }
  const Text text = template_text();
  if (!text) return text.error();
  if (!*text) return std::shared_ptr<const ChatTemplate>();
  return parsed(folder_ / kConfigFile, **text);
}

Error TokenizerConfig::error(const std::string& what) const {
  return file_error(folder_ / kConfigFile, what);
}

}  // namespace tinkex::torch_ext::local
