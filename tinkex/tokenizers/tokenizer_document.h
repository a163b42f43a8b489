#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/tokenizers/token_table.h"

namespace tinkex::tokenizers {

/// A tokenizer.json, read but not yet understood.
struct TokenizerDocument {
  nlohmann::json rest;                                ///< Everything but the two large parts.
  std::optional<std::vector<TokenEntry>> vocabulary;  ///< `model.vocab`
  std::optional<std::vector<std::pair<std::string, std::string>>> merges;  ///< `model.merges`
};

/// Reads JSON without building a tree of the vocabulary. Refuses a key that is there twice, more
/// than 32 levels, ids that are no integers of 32 bits, and merges that are not two texts. Errors
/// are kIo.
Result<TokenizerDocument> read_tokenizer_document(std::string_view json);

/// "left right" as the two parts, nullopt if there is not exactly one space.
std::optional<std::pair<std::string, std::string>> split_merge(std::string_view merge);

}  // namespace tinkex::tokenizers
