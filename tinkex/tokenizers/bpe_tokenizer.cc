#include "tinkex/tokenizers/bpe_tokenizer.h"

#include <functional>
#include <unordered_map>
#include <utility>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/byte_alphabet.h"
#include "tinkex/tokenizers/nfc.h"
#include "tinkex/tokenizers/utf8.h"

namespace tinkex::tokenizers {
namespace {

/// Replaced bytes and normalisation make it at most three times as long; words count bytes in 32
/// bits.
constexpr std::size_t kMaxText = std::size_t{1} << 30;
// Of the words that one call remembers.
constexpr std::size_t kMaxCached = 1 << 16;
constexpr std::size_t kMaxCachedBytes = 64;

struct HashText {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept {
    return std::hash<std::string_view>{}(text);
  }
};

Result<AddedTokenFinder> finder_of(const std::vector<AddedToken>& added, bool normalized,
                                   bool normalize) {
  std::vector<AddedToken> some;
  for (const AddedToken& token : added) {
    if (token.normalized != normalized) continue;
    some.push_back(token);
    // Other bytes have no normal form; they are refused as they are.
    if (normalize && internal::is_utf8(token.content)) some.back().content = nfc(token.content);
  }
  return AddedTokenFinder::create(std::move(some));
}

}  // namespace

/// One call of encode.
class BpeTokenizer::Encoding {
 public:
  Encoding(const BpeTokenizer& tokenizer, bool special)
      : tokenizer_(tokenizer), special_(special) {}

  /// False if a pattern gave up.
  bool run(std::string_view text) {
    return tokenizer_.raw_tokens_.split(
        text, special_, scratch_, [this](std::string_view part, std::optional<TokenId> token) {
          if (token) return take(*token);
          return tokenizer_.nfc_ ? take_normalized(nfc(part)) : take_normalized(part);
        });
  }

  std::vector<std::int64_t>& ids() { return ids_; }

 private:
  /// Where the tokens of a word are among the ids.
  struct Place {
    std::size_t begin;
    std::size_t count;
  };

  bool take(TokenId token) {
    ids_.push_back(token);
    return true;
  }

  bool take_normalized(std::string_view text) {
    return tokenizer_.normalized_tokens_.split(
        text, special_, scratch_, [this](std::string_view part, std::optional<TokenId> token) {
          if (token) return take(*token);
          return tokenizer_.pre_tokenizer_.split(part, scratch_,
                                                 [this](std::string_view word) { add(word); });
        });
  }

  void add(std::string_view word) {
    const auto seen = cache_.find(word);
    if (seen != cache_.end()) {
      for (std::size_t i = 0; i < seen->second.count; ++i) {
        ids_.push_back(ids_[seen->second.begin + i]);
      }
      return;
    }
    const std::size_t begin = ids_.size();
    tokenizer_.model_.encode(word, bpe_, ids_);
    if (word.size() <= kMaxCachedBytes && cache_.size() < kMaxCached) {
      cache_.emplace(std::string(word), Place{begin, ids_.size() - begin});
    }
  }

  const BpeTokenizer& tokenizer_;
  const bool special_;
  RegexScratch scratch_;
  BpeModel::Scratch bpe_;
  std::unordered_map<std::string, Place, HashText, std::equal_to<>> cache_;
  std::vector<std::int64_t> ids_;
};

BpeTokenizer::BpeTokenizer(std::unique_ptr<const TokenTable> table, BpeModel model,
                           PreTokenizer pre_tokenizer, AddedTokenFinder raw,
                           AddedTokenFinder normalized)
    : table_(std::move(table)),
      model_(std::move(model)),
      pre_tokenizer_(std::move(pre_tokenizer)),
      raw_tokens_(std::move(raw)),
      normalized_tokens_(std::move(normalized)) {}

Result<BpeTokenizer> BpeTokenizer::create(Parts parts) {
  Result<TokenTable> made = TokenTable::create(std::move(parts.entries));
  if (!made) return made.error();
  auto table = std::make_unique<const TokenTable>(*std::move(made));
  Result<BpeModel> model = BpeModel::create(*table, parts.rules);
  if (!model) return model.error();
  Result<AddedTokenFinder> raw = finder_of(parts.added, false, false);
  if (!raw) return raw.error();
  Result<AddedTokenFinder> normalized = finder_of(parts.added, true, parts.nfc);
  if (!normalized) return normalized.error();
  if (!parts.pre_tokenizer) return Error(ErrorCode::kIo, "there is no pre-tokenizer");
  BpeTokenizer tokenizer(std::move(table), *std::move(model), *std::move(parts.pre_tokenizer),
                         *std::move(raw), *std::move(normalized));
  tokenizer.nfc_ = parts.nfc;
  tokenizer.prefix_.assign(parts.prefix.begin(), parts.prefix.end());
  tokenizer.suffix_.assign(parts.suffix.begin(), parts.suffix.end());
  tokenizer.eos_ = parts.eos ? std::int64_t{*parts.eos} : -1;
  tokenizer.take_bytes(parts.added);
  return tokenizer;
}

void BpeTokenizer::take_bytes(const std::vector<AddedToken>& added) {
  bytes_.resize(table_->id_bound());
  special_.resize(table_->id_bound());
  for (const TokenEntry& entry : table_->entries()) {
    // A token with a character outside of the alphabet stands for its own bytes.
    bytes_[entry.id] = bytes_of_token(entry.text).value_or(entry.text);
  }
  for (const AddedToken& token : added) {
    special_[token.id] = token.special;
    if (!nfc_ || !token.normalized) continue;
    const std::string text = nfc(token.content);
    bytes_[token.id] = bytes_of_token(text).value_or(text);
  }
}

Result<std::vector<std::int64_t>> BpeTokenizer::encode(std::string_view text,
                                                       EncodeOptions options) const {
  if (text.size() > kMaxText) {
    return invalid_argument("the text has " + std::to_string(text.size()) +
                            " bytes; at most 2^30 can be encoded at once");
  }
  std::string valid;
  if (!internal::is_utf8(text)) {
    valid = lossy_utf8(text);
    text = valid;
  }
  Encoding encoding(*this, options.recognize_special_tokens);
  std::vector<std::int64_t>& ids = encoding.ids();
  if (options.add_special_tokens) ids = prefix_;
  if (!encoding.run(text)) {
    return invalid_argument("the tokenizer's pattern takes too many steps for this text of " +
                            std::to_string(text.size()) + " bytes");
  }
  if (options.add_special_tokens) ids.insert(ids.end(), suffix_.begin(), suffix_.end());
  return std::move(ids);
}

std::vector<std::int64_t> BpeTokenizer::encode(std::string_view text) const {
  return encode(text, {.add_special_tokens = false, .recognize_special_tokens = true}).value();
}

std::string BpeTokenizer::decode(std::span<const std::int64_t> tokens,
                                 bool skip_special_tokens) const {
  std::string text;
  for (const std::int64_t token : tokens) {
    if (!skip_special_tokens || !is_special(token)) text += bytes_of(token);
  }
  return text;
}

std::string BpeTokenizer::decode(std::span<const std::int64_t> tokens) const {
  return decode(tokens, /*skip_special_tokens=*/true);
}

std::string BpeTokenizer::decode_text(std::span<const std::int64_t> tokens,
                                      bool skip_special_tokens) const {
  return lossy_utf8(decode(tokens, skip_special_tokens));
}

std::string_view BpeTokenizer::bytes_of(std::int64_t id) const {
  return table_->find(id) == nullptr ? std::string_view() : bytes_[static_cast<std::size_t>(id)];
}

bool BpeTokenizer::is_special(std::int64_t id) const {
  return table_->find(id) != nullptr && special_[static_cast<std::size_t>(id)];
}

std::optional<std::string> BpeTokenizer::id_to_token(std::int64_t id) const {
  const TokenEntry* entry = table_->find(id);
  return entry == nullptr ? std::nullopt : std::optional(entry->text);
}

std::optional<std::int64_t> BpeTokenizer::token_to_id(std::string_view token) const {
  const TokenEntry* entry = table_->find(token);
  return entry == nullptr ? std::nullopt : std::optional<std::int64_t>(entry->id);
}

Status BpeTokenizer::set_eos_token(std::int64_t id) {
  if (table_->find(id) == nullptr) {
    return invalid_argument("there is no token with the id " + std::to_string(id));
  }
  eos_ = id;
  return ok_status();
}

}  // namespace tinkex::tokenizers
