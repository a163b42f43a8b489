#include "tinkex/tokenizers/bpe_model.h"

#include <algorithm>
#include <bit>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/byte_alphabet.h"

namespace tinkex::tokenizers {
namespace {

constexpr TokenId kNoToken = UINT32_MAX;
constexpr std::uint32_t kEnd = UINT32_MAX;  ///< No neighbour.
constexpr std::uint64_t kEmpty = UINT64_MAX;

std::uint64_t pair_of(TokenId left, TokenId right) noexcept {
  return std::uint64_t{left} << 32 | right;
}

Error merge_error(std::size_t index, const std::pair<std::string, std::string>& merge,
                  const std::string& what) {
  return {ErrorCode::kIo, "merge " + std::to_string(index) + ", " + internal::quoted(merge.first) +
                              " and " + internal::quoted(merge.second) + ": " + what};
}

}  // namespace

MergeTable::MergeTable(std::size_t expected)
    : slots_(std::bit_ceil(2 * expected + 1), Slot{kEmpty, {0, 0}}) {}

std::size_t MergeTable::place_of(std::uint64_t pair) const noexcept {
  // The mixing of SplitMix64: every bit of the pair decides on every bit of the place.
  std::uint64_t z = pair;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  std::size_t place = (z ^ (z >> 31)) & (slots_.size() - 1);
  while (slots_[place].pair != pair && slots_[place].pair != kEmpty) {
    place = (place + 1) & (slots_.size() - 1);
  }
  return place;
}

void MergeTable::put(TokenId left, TokenId right, Merge merge) {
  const std::uint64_t pair = pair_of(left, right);
  slots_[place_of(pair)] = {pair, merge};
}

const MergeTable::Merge* MergeTable::find(TokenId left, TokenId right) const noexcept {
  const Slot& slot = slots_[place_of(pair_of(left, right))];
  return slot.pair == kEmpty ? nullptr : &slot.merge;
}

Result<BpeModel> BpeModel::create(const TokenTable& table, const BpeRules& rules) {
  BpeModel model(table, rules.merges.size());
  model.ignore_merges_ = rules.ignore_merges;
  model.fuse_unknown_ = rules.fuse_unknown;
  Status status = model.take_bytes(rules);
  if (status) status = model.take_merges(rules);
  if (!status) return status.error();
  return model;
}

const TokenEntry* BpeModel::known(std::string_view text) const {
  const TokenEntry* entry = table_->find(text);
  return entry != nullptr && entry->in_model ? entry : nullptr;
}

Status BpeModel::take_bytes(const BpeRules& rules) {
  bool complete = true;
  for (std::size_t byte = 0; byte < byte_tokens_.size(); ++byte) {
    const TokenEntry* entry = known(token_of_byte(static_cast<unsigned char>(byte)));
    byte_tokens_[byte] = entry == nullptr ? kNoToken : entry->id;
    complete = complete && entry != nullptr;
  }
  if (complete || !rules.unknown_token) return ok_status();
  const TokenEntry* unknown = known(*rules.unknown_token);
  if (unknown == nullptr) {
    return Error(ErrorCode::kIo, "unk_token " + internal::quoted(*rules.unknown_token) +
                                     " is needed, as the vocabulary lacks bytes, and is not in it");
  }
  unknown_ = unknown->id;
  return ok_status();
}

Status BpeModel::take_merges(const BpeRules& rules) {
  std::string whole;
  for (std::size_t i = 0; i < rules.merges.size(); ++i) {
    const auto& merge = rules.merges[i];
    const TokenEntry* left = known(merge.first);
    const TokenEntry* right = known(merge.second);
    if (left == nullptr || right == nullptr) {
      return merge_error(i, merge, "not in the vocabulary");
    }
    whole.assign(merge.first).append(merge.second);
    const TokenEntry* result = known(whole);
    if (result == nullptr) return merge_error(i, merge, "their whole is not in the vocabulary");
    if (result == left || result == right) return merge_error(i, merge, "one is empty");
    merges_.put(left->id, right->id, {static_cast<std::uint32_t>(i), result->id});
  }
  return ok_status();
}

void BpeModel::encode(std::string_view word, Scratch& scratch,
                      std::vector<std::int64_t>& out) const {
  if (ignore_merges_) {
    scratch.text.clear();
    for (const char c : word) scratch.text += token_of_byte(static_cast<unsigned char>(c));
    if (const TokenEntry* entry = known(scratch.text)) {
      out.push_back(entry->id);
      return;
    }
  }
  start(word, scratch);
  merge(scratch);
  if (scratch.symbols.empty()) return;
  for (std::uint32_t at = 0; at != kEnd; at = scratch.symbols[at].next) {
    out.push_back(scratch.symbols[at].token);
  }
}

void BpeModel::start(std::string_view word, Scratch& scratch) const {
  auto& symbols = scratch.symbols;
  symbols.clear();
  bool after_unknown = false;
  for (const char c : word) {
    TokenId token = byte_tokens_[static_cast<unsigned char>(c)];
    const bool is_unknown = token == kNoToken;
    if (is_unknown && (!unknown_ || (fuse_unknown_ && after_unknown))) continue;
    if (is_unknown) token = *unknown_;
    after_unknown = is_unknown;
    const auto at = static_cast<std::uint32_t>(symbols.size());
    symbols.push_back({token, at - 1, at + 1});
  }
  if (!symbols.empty()) symbols.back().next = kEnd;
}

/// Queues the pair that begins at `position`, if it can be merged.
void BpeModel::consider(std::uint32_t position, Scratch& scratch) const {
  const auto& symbol = scratch.symbols[position];
  if (symbol.next == kEnd) return;
  const TokenId right = scratch.symbols[symbol.next].token;
  const MergeTable::Merge* found = merges_.find(symbol.token, right);
  if (found == nullptr) return;
  scratch.heap.push_back(
      {std::uint64_t{found->rank} << 32 | position, symbol.token, right, found->token});
}

void BpeModel::merge(Scratch& scratch) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  const auto later = [](const auto& a, const auto& b) { return a.order > b.order; };
  heap.clear();
  for (std::uint32_t i = 0; i < symbols.size(); ++i) consider(i, scratch);
  std::make_heap(heap.begin(), heap.end(), later);
  const auto queue = [&](std::uint32_t position) {
    const std::size_t before = heap.size();
    consider(position, scratch);
    if (heap.size() > before) std::push_heap(heap.begin(), heap.end(), later);
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const auto best = heap.back();
    heap.pop_back();
    const auto position = static_cast<std::uint32_t>(best.order);
    auto& left = symbols[position];
    // One of the two may have been merged with another neighbour since.
    if (left.token != best.left || left.next == kEnd || symbols[left.next].token != best.right) {
      continue;
    }
    symbols[left.next].token = kNoToken;
    left.token = best.token;
    left.next = symbols[left.next].next;
    if (left.next != kEnd) symbols[left.next].previous = position;
    if (position > 0) queue(left.previous);
    queue(position);
  }
}

}  // namespace tinkex::tokenizers
