#include "tinkex/tokenizers/tokenizer_writer.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "tinkex/tokenizers/pre_tokenizer.h"

namespace tinkex::tokenizers {
namespace {

using Json = nlohmann::json;
using Parts = BpeTokenizer::Parts;

Json added_tokens(const Parts& parts) {
  Json list = Json::array();
  for (const AddedToken& token : parts.added) {
    list.push_back({{"id", token.id},
                    {"content", token.content},
                    {"single_word", token.single_word},
                    {"lstrip", token.lstrip},
                    {"rstrip", token.rstrip},
                    {"normalized", token.normalized},
                    {"special", token.special}});
  }
  return list;
}

Json pre_tokenizer(const WordFamily& family) {
  Json steps = Json::array();
  if (family.digits) steps.push_back({{"type", "Digits"}, {"individual_digits", true}});
  steps.push_back({{"type", "Split"},
                   {"pattern", {{"Regex", family.pattern}}},
                   {"behavior", "Isolated"},
                   {"invert", false}});
  // The words are cut already: this step only writes bytes as characters.
  steps.push_back({{"type", "ByteLevel"},
                   {"add_prefix_space", false},
                   {"trim_offsets", true},
                   {"use_regex", false}});
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

/// Special tokens around each text; null without any.
Json post_processor(const Parts& parts) {
  if (parts.prefix.empty() && parts.suffix.empty()) return nullptr;
  Json special = Json::object();
  const auto add_specials = [&](const std::vector<TokenId>& ids, int type, Json& pieces) {
    for (const TokenId id : ids) {
      const std::string& text = parts.entries[id].text;
      pieces.push_back({{"SpecialToken", {{"id", text}, {"type_id", type}}}});
      special[text] = {{"id", text}, {"ids", Json::array({id})}, {"tokens", Json::array({text})}};
    }
  };
  const auto add_text = [&](const char* name, int type, Json& pieces) {
    add_specials(parts.prefix, type, pieces);
    pieces.push_back({{"Sequence", {{"id", name}, {"type_id", type}}}});
    add_specials(parts.suffix, type, pieces);
  };
  Json single = Json::array();
  add_text("A", 0, single);
  Json pair = single;
  add_text("B", 1, pair);
  return {{"type", "TemplateProcessing"},
          {"single", std::move(single)},
          {"pair", std::move(pair)},
          {"special_tokens", std::move(special)}};
}

Json model(const Parts& parts) {
  Json vocabulary = Json::object();
  for (const TokenEntry& entry : parts.entries) vocabulary[entry.text] = entry.id;
  Json merges = Json::array();
  for (const auto& [left, right] : parts.rules.merges) merges.push_back(left + " " + right);
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", parts.rules.ignore_merges},
          {"vocab", std::move(vocabulary)},
          {"merges", std::move(merges)}};
}

}  // namespace

Result<std::string> write_tokenizer_json(GgufVocabulary vocabulary) {
  const Result<WordFamily> family = word_family(vocabulary.pre);
  if (!family) return family.error();
  const Result<Parts> parts = BpeTokenizer::parts_of(std::move(vocabulary));
  if (!parts) return parts.error();
  const Json json = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", added_tokens(*parts)},
                     {"normalizer", parts->nfc ? Json{{"type", "NFC"}} : Json()},
                     {"pre_tokenizer", pre_tokenizer(*family)},
                     {"post_processor", post_processor(*parts)},
                     {"decoder",
                      {{"type", "ByteLevel"},
                       {"add_prefix_space", false},
                       {"trim_offsets", true},
                       {"use_regex", false}}},
                     {"model", model(*parts)}};
  try {
    return json.dump();
  } catch (const Json::type_error&) {
    return Error(ErrorCode::kIo,
                 "the tokenizer of a GGUF file: a token is not UTF-8, which JSON cannot hold");
  }
}

}  // namespace tinkex::tokenizers
