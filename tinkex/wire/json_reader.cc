#include "tinkex/wire/json_reader.h"

#include <cmath>
#include <limits>

#include "tinkex/wire/boundary.h"

namespace tinkex::wire::json {
namespace {

[[noreturn]] void fail_type(const Json& value, const std::string& where, const char* expected) {
  fail_decode(where + ": expected " + expected + ", got " + value.type_name());
}

std::string at(const std::string& where, std::size_t index) {
  return where + "[" + std::to_string(index) + "]";
}

// The parser keeps its own stack, so depth costs memory, not stack; but whoever walks the result
// should be able to rely on a limit. Brackets inside strings do not count.
bool is_too_deep(std::string_view text) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) return true;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return false;
}

// Whether `value` is a whole number that a double holds exactly.
bool is_whole(double value) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  return std::abs(value) <= kExact && std::trunc(value) == value;
}

bool read_exact(const Json& value, std::int64_t& out) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    out = static_cast<std::int64_t>(number);
    return number <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  }
  if (value.is_number_integer()) {
    out = value.get<std::int64_t>();
    return true;
  }
  if (!value.is_number_float() || !is_whole(value.get<double>())) return false;
  out = static_cast<std::int64_t>(value.get<double>());
  return true;
}

bool is_token(const Json& value, std::int64_t& out) {
  return read_exact(value, out) && out >= 0 && out <= std::numeric_limits<std::int32_t>::max();
}

}  // namespace

Json parse_object(std::string_view text) {
  if (is_too_deep(text)) {
    fail_decode("JSON nested deeper than " + std::to_string(kMaxDepth) + " levels");
  }
  Json value;
  try {
    value = Json::parse(text.begin(), text.end());
  } catch (const Json::exception& error) {
    // The position is useful; the excerpt that follows it may be as long as the body.
    fail_decode("not valid JSON: " + std::string(error.what()).substr(0, 160));
  }
  expect_object(value, "the body");
  return value;
}

const Json* find(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

const Json& require(const Json& object, const char* key, const std::string& where) {
  const Json* value = find(expect_object(object, where), key);
  if (value == nullptr) fail_decode(where + ": key '" + key + "' is missing");
  return *value;
}

const Json& expect_object(const Json& value, const std::string& where) {
  if (!value.is_object()) fail_type(value, where, "an object");
  return value;
}

const Json& expect_array(const Json& value, const std::string& where) {
  if (!value.is_array()) fail_type(value, where, "an array");
  return value;
}

std::string read_text(const Json& value, const std::string& where) {
  if (!value.is_string()) fail_type(value, where, "a string");
  return value.get<std::string>();
}

std::int64_t read_integer(const Json& value, const std::string& where) {
  std::int64_t number = 0;
  if (!value.is_number()) fail_type(value, where, "an integer");
  if (!read_exact(value, number))
    fail_decode(where + ": " + value.dump() + " is no 64-bit integer");
  return number;
}

std::int32_t read_token(const Json& value, const std::string& where) {
  std::int64_t number = 0;
  if (!value.is_number()) fail_type(value, where, "a token id");
  if (!is_token(value, number)) fail_decode(where + ": " + value.dump() + " is outside [0, 2^31)");
  return static_cast<std::int32_t>(number);
}

double read_number(const Json& value, const std::string& where) {
  if (value.is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (!value.is_number()) fail_type(value, where, "a number");
  return value.get<double>();
}

// The places of elements are put into words only when one is wrong.

std::vector<std::int64_t> read_integers(const Json& value, const std::string& where) {
  std::vector<std::int64_t> numbers;
  numbers.reserve(expect_array(value, where).size());
  for (const Json& element : value) {
    std::int64_t number = 0;
    if (!read_exact(element, number)) read_integer(element, at(where, numbers.size()));
    numbers.push_back(number);
  }
  return numbers;
}

std::vector<std::int32_t> read_tokens(const Json& value, const std::string& where) {
  std::vector<std::int32_t> tokens;
  tokens.reserve(expect_array(value, where).size());
  for (const Json& element : value) {
    std::int64_t number = 0;
    if (!is_token(element, number)) read_token(element, at(where, tokens.size()));
    tokens.push_back(static_cast<std::int32_t>(number));
  }
  return tokens;
}

std::vector<float> read_floats(const Json& value, const std::string& where) {
  std::vector<float> numbers;
  numbers.reserve(expect_array(value, where).size());
  for (const Json& element : value) {
    if (!element.is_number() && !element.is_null()) read_number(element, at(where, numbers.size()));
    numbers.push_back(element.is_null() ? std::numeric_limits<float>::quiet_NaN()
                                        : element.get<float>());
  }
  return numbers;
}

}  // namespace tinkex::wire::json
