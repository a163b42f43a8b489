#include "tinkex/tokenizers/added_tokens.h"

#include <algorithm>
#include <utility>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/unicode_additions.h"
#include "tinkex/tokenizers/utf8.h"

namespace tinkex::tokenizers {
namespace {

/// Bounds what a hostile set of tokens costs per byte of text.
constexpr std::size_t kMaxContent = 1'024;
constexpr std::uint32_t kNone = UINT32_MAX;

std::uint64_t edge_of(std::uint32_t node, char byte) {
  return std::uint64_t{node} << 8 | static_cast<unsigned char>(byte);
}

std::size_t white_space_before(std::string_view text, std::size_t end, std::size_t first) {
  while (end > first) {
    const std::size_t begin = previous_position(text, end);
    std::size_t position = begin;
    if (!is_white_space(next_code_point(text, position))) break;
    end = begin;
  }
  return end;
}

std::size_t white_space_after(std::string_view text, std::size_t begin) {
  while (begin < text.size()) {
    std::size_t end = begin;
    if (!is_white_space(next_code_point(text, end))) break;
    begin = end;
  }
  return begin;
}

}  // namespace

Result<AddedTokenFinder> AddedTokenFinder::create(std::vector<AddedToken> tokens) {
  Result<Regex> word = Regex::compile("[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}" +
                                      unicode_additions("word") + "]");
  if (!word) return word.error();
  AddedTokenFinder finder(std::move(tokens), *std::move(word));
  finder.token_of_node_.push_back(kNone);
  for (std::uint32_t i = 0; i < finder.tokens_.size(); ++i) {
    const Status status = finder.add_to_tree(i);
    if (!status) return status.error();
  }
  return finder;
}

Status AddedTokenFinder::add_to_tree(std::uint32_t token) {
  const std::string& content = tokens_[token].content;
  const auto refuse = [&content](const std::string& what) {
    return Error(ErrorCode::kIo, "added token " + internal::quoted(content) + " " + what);
  };
  if (content.empty()) return refuse("is empty");
  // One that begins or ends inside of a character would cut the text there.
  if (!internal::is_utf8(content)) return refuse("is not UTF-8");
  if (content.size() > kMaxContent) {
    return refuse("has more than " + std::to_string(kMaxContent) + " bytes");
  }
  std::uint32_t node = 0;
  for (const char byte : content) {
    const auto next = static_cast<std::uint32_t>(token_of_node_.size());
    const auto [edge, is_new] = edges_.emplace(edge_of(node, byte), next);
    if (is_new) token_of_node_.push_back(kNone);
    node = edge->second;
  }
  if (token_of_node_[node] != kNone) return refuse("is there twice");
  token_of_node_[node] = token;
  first_bytes_[static_cast<unsigned char>(content.front())] = true;
  return ok_status();
}

std::optional<AddedTokenFinder::Found> AddedTokenFinder::longest_at(std::string_view text,
                                                                    std::size_t begin) const {
  std::optional<Found> found;
  std::uint32_t node = 0;
  for (std::size_t i = begin; i < text.size(); ++i) {
    const auto edge = edges_.find(edge_of(node, text[i]));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (token_of_node_[node] != kNone) found = {i + 1, &tokens_[token_of_node_[node]]};
  }
  return found;
}

bool AddedTokenFinder::touches_word(std::string_view text, std::size_t begin, std::size_t end,
                                    RegexScratch& scratch) const {
  const auto is_word = [&](std::size_t from) {
    std::size_t to = from;
    next_code_point(text, to);
    Regex::Match match;
    return word_.find(text.substr(from, to - from), 0, scratch, match) == Regex::Outcome::kMatch;
  };
  return (begin > 0 && is_word(previous_position(text, begin))) ||
         (end < text.size() && is_word(end));
}

bool AddedTokenFinder::split(std::string_view text, bool special, RegexScratch& scratch,
                             const Sink& sink) const {
  std::size_t done = 0;
  std::pair<std::size_t, std::size_t> space = {1, 0};  // The last white space that was measured.
  for (std::size_t at = 0; at < text.size();) {
    const bool begins = first_bytes_[static_cast<unsigned char>(text[at])];
    const auto found = begins ? longest_at(text, at) : std::nullopt;
    if (!found) {
      ++at;
      continue;
    }
    std::size_t begin = at;
    std::size_t end = at = found->end;
    const AddedToken& token = *found->token;
    if (token.special && !special) continue;
    if (token.single_word && touches_word(text, begin, end, scratch)) continue;
    if (token.lstrip) begin = std::max(white_space_before(text, begin, done), done);
    if (token.rstrip) {
      if (end < space.first || end > space.second) space = {end, white_space_after(text, end)};
      end = space.second;
    }
    // The white space that makes up this one went with the token before.
    if (begin >= end) continue;
    if (done < begin && !sink(text.substr(done, begin - done), std::nullopt)) return false;
    if (!sink(text.substr(begin, end - begin), token.id)) return false;
    done = end;
  }
  return done == text.size() || sink(text.substr(done), std::nullopt);
}

}  // namespace tinkex::tokenizers
