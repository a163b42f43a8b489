#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/tokenizers/regex.h"
#include "tinkex/tokenizers/token_table.h"

namespace tinkex::tokenizers {

/// A token that is found in the text as a whole, before anything else is done with the text. The
/// flags are those of Hugging Face.
struct AddedToken {
  std::string content;
  TokenId id = 0;
  bool single_word = false;  ///< Only where no letter, digit or mark touches it.
  bool lstrip = false;       ///< Takes the white space before it with it.
  bool rstrip = false;       ///< Takes the white space after it with it.
  bool normalized = false;   ///< Is looked for after the text was normalised, in its normal form.
  bool special = false;      ///< Not shown in decoded text, if so wished.
};

/// Finds some added tokens in a text. Immutable and thread-safe.
class AddedTokenFinder {
 public:
  /// A token, or text between tokens.
  using Sink = std::function<bool(std::string_view text, std::optional<TokenId> token)>;

  /// Looks for each token's content as it is here. Errors, of code kIo: a content that is empty, is
  /// not UTF-8, is longer than 1,024 bytes, or is there twice.
  static Result<AddedTokenFinder> create(std::vector<AddedToken> tokens);

  /// Cuts `text`, well-formed UTF-8, at the tokens: leftmost first, of these the longest. With
  /// `special` false, special tokens are text. Stops and gives false where `sink` does.
  /// As with Hugging Face, a token that begins in the white space that one before took with it
  /// counts too; it is left out if it would take white space back and nothing of it remains.
  bool split(std::string_view text, bool special, RegexScratch& scratch, const Sink& sink) const;

 private:
  struct Found {
    std::size_t end;
    const AddedToken* token;
  };
  AddedTokenFinder(std::vector<AddedToken> tokens, Regex word)
      : tokens_(std::move(tokens)), word_(std::move(word)) {}
  Status add_to_tree(std::uint32_t token);
  std::optional<Found> longest_at(std::string_view text, std::size_t begin) const;
  bool touches_word(std::string_view text, std::size_t begin, std::size_t end,
                    RegexScratch& scratch) const;

  std::vector<AddedToken> tokens_;
  Regex word_;  ///< A character of a word.
  /// A tree over the bytes of the contents: from (node, byte) to the next node. 0 is the root.
  std::unordered_map<std::uint64_t, std::uint32_t> edges_;
  std::vector<std::uint32_t> token_of_node_;
  std::vector<bool> first_bytes_ = std::vector<bool>(256);
};

}  // namespace tinkex::tokenizers
