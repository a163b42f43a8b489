#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tinkex/error.h"

namespace tinkex::tokenizers {

using TokenId = std::uint32_t;

/// One entry of a vocabulary.
struct TokenEntry {
  std::string text;  ///< As it is written in the file.
  TokenId id = 0;
  /// Whether the BPE model knows it; a token that was only added is recognised as a whole.
  bool in_model = true;
};

/// The tokens of a vocabulary by text and by id. Immutable and thread-safe.
class TokenTable {
 public:
  /// Refuses two entries of one text or one id, and ids so high that a table by id would be mostly
  /// empty. Errors are kIo.
  static Result<TokenTable> create(std::vector<TokenEntry> entries);

  TokenTable(TokenTable&&) = default;
  TokenTable& operator=(TokenTable&&) = default;

  /// Null if there is none. Valid as long as the table.
  const TokenEntry* find(std::string_view text) const;
  const TokenEntry* find(std::int64_t id) const;

  const std::vector<TokenEntry>& entries() const noexcept { return entries_; }
  /// Ids are below this.
  std::size_t id_bound() const noexcept { return by_id_.size(); }

 private:
  explicit TokenTable(std::vector<TokenEntry> entries) : entries_(std::move(entries)) {}
  Status index();

  std::vector<TokenEntry> entries_;  ///< Never resized: by_text_ refers to the texts.
  std::vector<std::uint32_t> by_id_;
  std::unordered_map<std::string_view, std::uint32_t> by_text_;
};

}  // namespace tinkex::tokenizers
