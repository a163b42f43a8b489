#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/wire/json_parser.h"

/// Reading of JSON from strangers. Every function throws kDecode with the place, what was expected
/// and what was found.
namespace tinkex::wire::json {

/// Parses an object.
Json parse_object(std::string_view text);

/// The value of a key, or null if it is absent or JSON null.
const Json* find(const Json& object, const char* key);
/// The value of a key that must be there and not null.
const Json& require(const Json& object, const char* key, const std::string& where);

const Json& expect_object(const Json& value, const std::string& where);
/// An array of anything but numbers; elements are read one by one.
const Json& expect_array(const Json& value, const std::string& where);

std::string read_text(const Json& value, const std::string& where);
/// Exact for every int64. A number such as 2.0 counts as an integer.
std::int64_t read_integer(const Json& value, const std::string& where);
/// In [0, 2^31).
std::int32_t read_token(const Json& value, const std::string& where);
/// Null is NaN.
double read_number(const Json& value, const std::string& where);

std::vector<std::int64_t> read_integers(const Json& value, const std::string& where);
std::vector<std::int32_t> read_tokens(const Json& value, const std::string& where);
/// Null is NaN.
std::vector<float> read_floats(const Json& value, const std::string& where);
std::vector<double> read_numbers(const Json& value, const std::string& where);

}  // namespace tinkex::wire::json
