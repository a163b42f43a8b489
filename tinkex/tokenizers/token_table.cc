#include "tinkex/tokenizers/token_table.h"

#include <algorithm>

#include "tinkex/base/text.h"

namespace tinkex::tokenizers {
namespace {

constexpr std::uint32_t kNone = UINT32_MAX;
/// Vocabularies have holes, but few.
constexpr std::size_t kMaxHoles = 65'536;

}  // namespace

Result<TokenTable> TokenTable::create(std::vector<TokenEntry> entries) {
  TokenTable table(std::move(entries));
  const Status status = table.index();
  if (!status) return status.error();
  return table;
}

Status TokenTable::index() {
  const std::size_t bound = 2 * entries_.size() + kMaxHoles;
  std::size_t highest = 0;
  for (const TokenEntry& entry : entries_) {
    if (entry.id >= bound) {
      return Error(ErrorCode::kIo, "token " + internal::quoted(entry.text) + " has the id " +
                                       std::to_string(entry.id) + ", which is too high for " +
                                       std::to_string(entries_.size()) + " tokens");
    }
    highest = std::max<std::size_t>(highest, entry.id);
  }
  by_id_.assign(entries_.empty() ? 0 : highest + 1, kNone);
  by_text_.reserve(entries_.size());
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const TokenEntry& entry = entries_[i];
    std::uint32_t& place = by_id_[entry.id];
    if (place != kNone) {
      return Error(ErrorCode::kIo, "tokens " + internal::quoted(entries_[place].text) + " and " +
                                       internal::quoted(entry.text) + " have the same id " +
                                       std::to_string(entry.id));
    }
    place = static_cast<std::uint32_t>(i);
    if (!by_text_.emplace(entry.text, place).second) {
      return Error(ErrorCode::kIo, "token " + internal::quoted(entry.text) + " is there twice");
    }
  }
  return ok_status();
}

const TokenEntry* TokenTable::find(std::string_view text) const {
  const auto found = by_text_.find(text);
  return found == by_text_.end() ? nullptr : &entries_[found->second];
}

const TokenEntry* TokenTable::find(std::int64_t id) const {
  if (id < 0 || static_cast<std::uint64_t>(id) >= by_id_.size()) return nullptr;
  const std::uint32_t place = by_id_[static_cast<std::size_t>(id)];
  return place == kNone ? nullptr : &entries_[place];
}

}  // namespace tinkex::tokenizers
