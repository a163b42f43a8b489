#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/tokenizers/token_table.h"

namespace tinkex::tokenizers {

/// Which token two neighbours become, and how early: a table by hash with open addressing, for it
/// is asked several times per word.
class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank;
    TokenId token;
  };

  explicit MergeTable(std::size_t expected);

  /// A pair that is there already gets the new merge.
  void put(TokenId left, TokenId right, Merge merge);
  const Merge* find(TokenId left, TokenId right) const noexcept;

 private:
  struct Slot {
    std::uint64_t pair;
    Merge merge;
  };
  std::size_t place_of(std::uint64_t pair) const noexcept;

  std::vector<Slot> slots_;  ///< A power of two, at most half full.
};

/// What the model has beside its vocabulary.
struct BpeRules {
  /// From the first to be applied to the last: the two texts.
  std::vector<std::pair<std::string, std::string>> merges{};
  /// A word that is a token is that token, whatever the merges.
  bool ignore_merges = false;
  /// Stands for bytes that the vocabulary lacks. Without one they are left out.
  std::optional<std::string> unknown_token{};
  /// One unknown token for neighbouring unknown bytes.
  bool fuse_unknown = false;
};

/// Byte pair encoding of one word. Immutable and thread-safe.
class BpeModel {
 public:
  /// Buffers of one thread, used again from word to word.
  class Scratch {
    friend class BpeModel;
    struct Symbol {
      TokenId token;
      std::uint32_t previous;
      std::uint32_t next;
    };
    struct Candidate {
      std::uint64_t order;  ///< Rank, then position: what is smallest is merged first.
      TokenId left;
      TokenId right;
      TokenId token;
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
    std::string text;
  };

  /// Errors, of code kIo, name a merge whose parts or whose result the vocabulary lacks. The model
  /// keeps a pointer to `table`, which must outlive it.
  static Result<BpeModel> create(const TokenTable& table, const BpeRules& rules);

  /// Appends the tokens of a word of less than 2^32 - 1 bytes. n log n steps.
  void encode(std::string_view word, Scratch& scratch, std::vector<std::int64_t>& out) const;

 private:
  BpeModel(const TokenTable& table, std::size_t merges) : table_(&table), merges_(merges) {}
  Status take_bytes(const BpeRules& rules);
  Status take_merges(const BpeRules& rules);
  const TokenEntry* known(std::string_view text) const;
  void start(std::string_view word, Scratch& scratch) const;
  void consider(std::uint32_t position, Scratch& scratch) const;
  void merge(Scratch& scratch) const;

  const TokenTable* table_;
  MergeTable merges_;
  std::array<TokenId, 256> byte_tokens_{};
  std::optional<TokenId> unknown_;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
};

}  // namespace tinkex::tokenizers
