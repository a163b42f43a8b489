#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace tinkex::torch_ext::local {

/// Reads the fields of a JSON object and remembers the first thing that is wrong, so that a handler
/// reads everything and then asks once. Null counts as absent, unknown fields are ignored, and
/// whole numbers may be written with a decimal point.
class JsonFields {
 public:
  /// Parses a request body. Empty counts as `{}`; more than 64 levels are refused.
  explicit JsonFields(std::string_view body);
  /// A part of a parsed body; `where` is put before the names in errors.
  JsonFields(const nlohmann::json& value, std::string where);

  std::string string(std::string_view name);
  std::optional<std::string> optional_string(std::string_view name);
  std::int64_t integer(std::string_view name);
  std::optional<std::int64_t> optional_integer(std::string_view name);
  /// Any integer of 64 bits, signed or not, as its bit pattern.
  std::optional<std::uint64_t> optional_seed(std::string_view name);
  double number(std::string_view name, double otherwise);
  bool boolean(std::string_view name, bool otherwise);
  std::map<std::string, std::string> string_map(std::string_view name);
  /// Null if absent. Any type.
  const nlohmann::json* value(std::string_view name);
  /// Null if absent; otherwise an object or an array.
  const nlohmann::json* object(std::string_view name);
  const nlohmann::json* array(std::string_view name);

  /// Says that something is wrong with a field that was read.
  void refuse(std::string_view name, const std::string& what);
  /// Takes over the complaint of a part.
  void refuse_as(const JsonFields& part);

  bool ok() const noexcept { return error_.empty(); }
  /// The first complaint: names the field.
  const std::string& error() const noexcept { return error_; }

 private:
  const nlohmann::json* require(std::string_view name);
  void wrong_type(std::string_view name, std::string_view expected, const nlohmann::json& actual);

  nlohmann::json parsed_;
  const nlohmann::json* object_ = nullptr;
  std::string where_;
  std::string error_;
};

/// Text of a JSON value; bytes that are not UTF-8 are replaced.
std::string dump(const nlohmann::json& value);

}  // namespace tinkex::torch_ext::local
