#include "torch_ext/local/json_fields.h"

#include <cmath>
#include <limits>
#include <utility>

namespace tinkex::torch_ext::local {
namespace {

using nlohmann::json;

constexpr std::size_t kQuoted = 80;
/// As in the client's own parsers; the API's bodies have 8 levels.
constexpr std::size_t kMaxDepth = 64;

/// Whether brackets are nested beyond kMaxDepth, found without building anything. Exact for valid
/// JSON.
bool is_too_deep(std::string_view text) {
  std::size_t depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\') {
      ++i;  // What is escaped ends no string.
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && (c == '[' || c == '{')) {
      if (++depth > kMaxDepth) return true;
    } else if (!quoted && (c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return false;
}

/// The value as an integer if it is one, whichever way it is written.
template <class Int>
std::optional<Int> as_integer(const json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (!std::in_range<Int>(number)) return std::nullopt;
    return static_cast<Int>(number);
  }
  if (value.is_number_integer()) {
    const auto number = value.get<std::int64_t>();
    if (!std::in_range<Int>(number)) return std::nullopt;
    return static_cast<Int>(number);
  }
  if (!value.is_number_float()) return std::nullopt;
  const double number = value.get<double>();
  constexpr double kExact = 9007199254740992.0;  // 2^53
  if (number != std::floor(number) || std::abs(number) > kExact) return std::nullopt;
  if (number < 0 && std::numeric_limits<Int>::min() == 0) return std::nullopt;
  return static_cast<Int>(number);
}

}  // namespace

std::string dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

JsonFields::JsonFields(std::string_view body) : object_(&parsed_) {
  if (is_too_deep(body)) {
    error_ = "the body is nested deeper than " + std::to_string(kMaxDepth) + " levels";
    parsed_ = json::object();
    return;
  }
  parsed_ = body.empty() ? json::object() : json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (parsed_.is_discarded()) {
    error_ = "the body is not valid JSON";
  } else if (!parsed_.is_object()) {
    error_ = std::string("the body must be a JSON object, not ") + parsed_.type_name();
  }
  if (!ok()) parsed_ = json::object();
}

JsonFields::JsonFields(const json& value, std::string where)
    : object_(&value), where_(std::move(where)) {
  if (value.is_object()) return;
  error_ = where_ + ": must be an object, not " + value.type_name();
  object_ = &parsed_;
  parsed_ = json::object();
}

const json* JsonFields::value(std::string_view name) {
  const auto found = object_->find(name);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

const json* JsonFields::require(std::string_view name) {
  const json* found = value(name);
  if (found == nullptr) refuse(name, "is required");
  return found;
}

void JsonFields::refuse(std::string_view name, const std::string& what) {
  if (!ok()) return;
  error_ = (where_.empty() ? "" : where_ + ".") + std::string(name) + ": " + what;
}

void JsonFields::refuse_as(const JsonFields& part) {
  if (ok()) error_ = part.error_;
}

void JsonFields::wrong_type(std::string_view name, std::string_view expected, const json& actual) {
  const std::string got =
      actual.is_structured() ? std::string("an ") + actual.type_name() : dump(actual);
  refuse(name, "must be " + std::string(expected) + ", not " + got.substr(0, kQuoted));
}

std::string JsonFields::string(std::string_view name) {
  require(name);
  return optional_string(name).value_or("");
}

std::optional<std::string> JsonFields::optional_string(std::string_view name) {
  const json* found = value(name);
  if (found == nullptr) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  wrong_type(name, "a string", *found);
  return std::nullopt;
}

std::int64_t JsonFields::integer(std::string_view name) {
  require(name);
  return optional_integer(name).value_or(0);
}

std::optional<std::int64_t> JsonFields::optional_integer(std::string_view name) {
  const json* found = value(name);
  if (found == nullptr) return std::nullopt;
  const auto number = as_integer<std::int64_t>(*found);
  if (!number) wrong_type(name, "an integer of 64 bits", *found);
  return number;
}

std::optional<std::uint64_t> JsonFields::optional_seed(std::string_view name) {
  const json* found = value(name);
  if (found == nullptr) return std::nullopt;
  if (const auto number = as_integer<std::uint64_t>(*found)) return number;
  if (const auto number = as_integer<std::int64_t>(*found)) {
    return static_cast<std::uint64_t>(*number);
  }
  wrong_type(name, "an integer of 64 bits", *found);
  return std::nullopt;
}

double JsonFields::number(std::string_view name, double otherwise) {
  const json* found = value(name);
  if (found == nullptr) return otherwise;
  if (found->is_number()) return found->get<double>();
  wrong_type(name, "a number", *found);
  return otherwise;
}

bool JsonFields::boolean(std::string_view name, bool otherwise) {
  const json* found = value(name);
  if (found == nullptr) return otherwise;
  if (found->is_boolean()) return found->get<bool>();
  wrong_type(name, "true or false", *found);
  return otherwise;
}

std::map<std::string, std::string> JsonFields::string_map(std::string_view name) {
  std::map<std::string, std::string> texts;
  const json* found = object(name);
  if (found == nullptr) return texts;
  for (const auto& [key, item] : found->items()) {
    if (!item.is_string()) {
      wrong_type(std::string(name) + "." + key, "a string", item);
      break;
    }
    texts.emplace(key, item.get<std::string>());
  }
  return texts;
}

const json* JsonFields::object(std::string_view name) {
  const json* found = value(name);
  if (found == nullptr || found->is_object()) return found;
  wrong_type(name, "an object", *found);
  return nullptr;
}

const json* JsonFields::array(std::string_view name) {
  const json* found = value(name);
  if (found == nullptr || found->is_array()) return found;
  wrong_type(name, "an array", *found);
  return nullptr;
}

}  // namespace tinkex::torch_ext::local
