#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "tinkex/tokenizers/bpe_tokenizer.h"
#include "tinkex/tokenizers/byte_alphabet.h"

namespace tinkex::tokenizers {

/// A tokenizer.json whose ids 0 to 255 are the bytes and 256, 257, ... what the merges make;
/// GPT-2's words, no normalizer, nothing added. Tests change it as they need.
inline nlohmann::json small_tokenizer(
    std::initializer_list<std::pair<std::string, std::string>> merges = {}) {
  nlohmann::json vocabulary = nlohmann::json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary[std::string(token_of_byte(static_cast<unsigned char>(byte)))] = byte;
  }
  nlohmann::json pairs = nlohmann::json::array();
  for (const auto& [left, right] : merges) {
    pairs.push_back({left, right});
    vocabulary[left + right] = vocabulary.size();
  }
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", nlohmann::json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", pairs}}}};
}

/// The entry of an added token, with the id that comes next.
inline void add_token(nlohmann::json& tokenizer, std::string_view content, bool special,
                      std::initializer_list<const char*> flags = {}) {
  const std::size_t id = tokenizer["model"]["vocab"].size() + tokenizer["added_tokens"].size();
  nlohmann::json token = {{"id", id},          {"content", content}, {"single_word", false},
                          {"lstrip", false},   {"rstrip", false},    {"normalized", false},
                          {"special", special}};
  for (const char* flag : flags) token[flag] = true;
  tokenizer["added_tokens"].push_back(token);
}

}  // namespace tinkex::tokenizers
