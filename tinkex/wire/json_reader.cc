#include "tinkex/wire/json_reader.h"

#include <cmath>
#include <limits>

#include "tinkex/base/token_id.h"
#include "tinkex/wire/boundary.h"

namespace tinkex::wire::json {
namespace {

const char* type_name(const Json& value) {
  if (is_packed(value)) return packed_count(value) == 0 ? "array" : "array of numbers";
  return value.type_name();
}

[[noreturn]] void fail_type(const Json& value, const std::string& where, const char* expected) {
  fail_decode(where + ": expected " + expected + ", got " + type_name(value));
}

std::string at(const std::string& where, std::size_t index) {
  return where + "[" + std::to_string(index) + "]";
}

// Whether `value` is a whole number that no neighbouring integer rounds to.
bool is_whole(double value) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  return std::abs(value) < kExact && std::trunc(value) == value;
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

// The unpacked form of any array of numbers: rare, for numbers that from_chars does not take, and
// for arrays with an element that is none.
std::vector<double> read_number_elements(const Json& value, const std::string& where) {
  if (!value.is_array()) fail_type(value, where, "an array of numbers");
  std::vector<double> numbers;
  numbers.reserve(value.size());
  for (const Json& element : value) {
    if (!element.is_number() && !element.is_null()) read_number(element, at(where, numbers.size()));
    numbers.push_back(element.is_null() ? std::numeric_limits<double>::quiet_NaN()
                                        : element.get<double>());
  }
  return numbers;
}

std::vector<std::int64_t> to_integers(const std::vector<double>& reals, const std::string& where) {
  std::vector<std::int64_t> integers;
  integers.reserve(reals.size());
  for (const double real : reals) {
    if (std::isnan(real))
      fail_decode(at(where, integers.size()) + ": expected an integer, got null");
    if (!is_whole(real)) read_integer(Json(real), at(where, integers.size()));
    integers.push_back(static_cast<std::int64_t>(real));
  }
  return integers;
}

}  // namespace

Json parse_object(std::string_view text) {
  Json value = parse(text);
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
  static const Json empty = Json::array();
  if (is_packed(value) && packed_count(value) == 0) return empty;
  if (!value.is_array()) fail_type(value, where, "an array of something else than numbers");
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
  const std::int64_t number = read_integer(value, where);
  if (!internal::is_token_id(number)) {
    fail_decode(where + ": " + std::to_string(number) + " is outside [0, 2^31)");
  }
  return static_cast<std::int32_t>(number);
}

double read_number(const Json& value, const std::string& where) {
  if (value.is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (!value.is_number()) fail_type(value, where, "a number");
  return value.get<double>();
}

std::vector<double> read_numbers(const Json& value, const std::string& where) {
  return is_packed(value) ? unpack_reals(value) : read_number_elements(value, where);
}

std::vector<std::int64_t> read_integers(const Json& value, const std::string& where) {
  if (is_packed_integers(value)) return unpack_integers(value);
  return to_integers(read_numbers(value, where), where);
}

std::vector<std::int32_t> read_tokens(const Json& value, const std::string& where) {
  const std::vector<std::int64_t> integers = read_integers(value, where);
  std::vector<std::int32_t> tokens;
  tokens.reserve(integers.size());
  for (const std::int64_t integer : integers) {
    if (!internal::is_token_id(integer)) read_token(Json(integer), at(where, tokens.size()));
    tokens.push_back(static_cast<std::int32_t>(integer));
  }
  return tokens;
}

std::vector<float> read_floats(const Json& value, const std::string& where) {
  const std::vector<double> reals = read_numbers(value, where);
  std::vector<float> floats;
  floats.reserve(reals.size());
  for (const double real : reals) floats.push_back(static_cast<float>(real));
  return floats;
}

}  // namespace tinkex::wire::json
