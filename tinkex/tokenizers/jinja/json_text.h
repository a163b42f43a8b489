#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tinkex/tokenizers/jinja/arguments.h"
#include "tinkex/tokenizers/jinja/value.h"

namespace tinkex::jinja {

/// The filter `tojson` as Hugging Face's transformers defines it: `json.dumps` of Python, with its
/// arguments `ensure_ascii` (here false unless given), `indent`, `separators` and `sort_keys`.
Value to_json(Run& run, const Value& value, const Arguments& arguments);

/// A value of JSON. Bytes of texts that are not UTF-8 become U+FFFD; integers above 63 bits are an
/// error of the run.
Value from_json(Run& run, const nlohmann::ordered_json& json);

}  // namespace tinkex::jinja
