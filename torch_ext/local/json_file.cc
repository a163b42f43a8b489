#include "torch_ext/local/json_file.h"

#include <string>

#include "torch_ext/local/file_io.h"
#include "torch_ext/local/strict_json.h"

namespace tinkex::torch_ext::local {

Result<nlohmann::json> read_json_object(const std::filesystem::path& file, std::uint64_t limit) {
  const Result<std::string> text = read_file(file, limit);
  if (!text) return text.error();
  nlohmann::json json = parse_strict_json(*text);
  if (!json.is_object()) return file_error(file, "it is not a JSON object, or gives a key twice");
  return json;
}

}  // namespace tinkex::torch_ext::local
