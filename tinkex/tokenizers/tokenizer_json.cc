#include <initializer_list>
#include <unordered_map>

#include "tinkex/base/text.h"
#include "tinkex/tokenizers/bpe_tokenizer.h"
#include "tinkex/tokenizers/tokenizer_document.h"

namespace tinkex::tokenizers {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxSteps = 16;

/// Understands the parts of a tokenizer.json. Remembers the first thing that is wrong.
class Interpreter {
 public:
  explicit Interpreter(TokenizerDocument document) : document_(std::move(document)) {}

  Result<BpeTokenizer::Parts> run() {
    const Json& json = document_.rest;
    const std::string where = "the file";
    known_keys(json, where,
               {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                "post_processor", "decoder", "model"});
    if (const Json* version = member(json, "version")) {
      if (*version != "1.0") unsupported("version", *version);
    }
    for (const char* name : {"truncation", "padding"}) {
      if (member(json, name) != nullptr) fail(std::string(name) + " is not supported");
    }
    read_model();
    read_added_tokens();
    if (const Json* normalizer = member(json, "normalizer")) read_normalizer(*normalizer);
    read_pre_tokenizer();
    if (const Json* processor = member(json, "post_processor")) read_post_processor(*processor);
    read_decoder();
    if (problem_.empty()) return std::move(parts_);
    return Error(ErrorCode::kIo, "tokenizer.json: " + problem_);
  }

 private:
  // Helpers.

  void fail(const std::string& what) {
    if (problem_.empty()) problem_ = what;
  }
  void unsupported(const std::string& what, const Json& value) {
    const std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
    fail(what + " " + internal::printable(text, 100) + " is not supported");
  }

  /// Null if it is absent or null, or `json` is not an object.
  static const Json* member(const Json& json, const char* name) {
    const auto found = json.is_object() ? json.find(name) : json.end();
    return found == json.end() || found->is_null() ? nullptr : &*found;
  }
  /// A key that is not known may change what the others mean.
  void known_keys(const Json& json, const std::string& where,
                  std::initializer_list<std::string_view> keys) {
    if (!json.is_object()) return fail(where + " is not an object");
    for (const auto& [key, value] : json.items()) {
      bool known = false;
      for (const std::string_view each : keys) known = known || key == each;
      if (!known) fail(where + " has an unknown field " + internal::quoted(key));
    }
  }
  bool boolean(const Json& json, const char* name, bool otherwise) {
    const Json* value = member(json, name);
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) fail(std::string(name) + " is not true or false");
    return value->is_boolean() && value->get<bool>();
  }
  std::string text(const Json& json, const char* name) {
    const Json* value = member(json, name);
    if (value != nullptr && value->is_string()) return value->get<std::string>();
    fail(std::string(name) + " is missing or is not a text");
    return {};
  }
  std::optional<TokenId> id(const Json& json) {
    if (json.is_number_unsigned() && json.get<std::uint64_t>() <= UINT32_MAX) {
      return json.get<TokenId>();
    }
    fail("an id is missing or is not an integer of 32 bits");
    return std::nullopt;
  }
  /// The parts of a Sequence, one after another; anything else is the one part.
  template <class Take>
  void each_of(const Json& json, const char* parts, Take&& take) {
    if (member(json, "type") == nullptr || *member(json, "type") != "Sequence") return take(json);
    known_keys(json, "a Sequence", {"type", parts});
    const Json* list = member(json, parts);
    if (list == nullptr || !list->is_array() || list->size() > kMaxSteps) {
      return fail("a Sequence has no list of at most 16 " + std::string(parts));
    }
    for (const Json& part : *list) take(part);
  }

  // The parts of the file.

  void read_model() {
    const Json* model = member(document_.rest, "model");
    if (model == nullptr) return fail("model is missing");
    const Json* type = member(*model, "type");
    if (type != nullptr && *type != "BPE") return unsupported("model", *type);
    known_keys(*model, "model",
               {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
    if (const Json* dropout = member(*model, "dropout")) {
      if (*dropout != 0) unsupported("dropout", *dropout);
    }
    for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      const Json* value = member(*model, affix);
      // NOLINTNEXTLINE(readability-container-size-empty): a JSON text is never empty()
      if (value != nullptr && *value != "") unsupported(affix, *value);
    }
    if (boolean(*model, "byte_fallback", false)) fail("byte_fallback is not supported");
    if (member(*model, "unk_token") != nullptr) {
      parts_.rules.unknown_token = text(*model, "unk_token");
    }
    parts_.rules.fuse_unknown = boolean(*model, "fuse_unk", false);
    parts_.rules.ignore_merges = boolean(*model, "ignore_merges", false);
    if (!document_.vocabulary) return fail("model.vocab is missing or is not an object");
    if (!document_.merges) return fail("model.merges is missing or is not a list");
    parts_.entries = *std::move(document_.vocabulary);
    parts_.rules.merges = *std::move(document_.merges);
  }

  void read_added_tokens() {
    const Json* list = member(document_.rest, "added_tokens");
    if (list == nullptr) return;
    if (!list->is_array()) return fail("added_tokens is not a list");
    std::unordered_map<std::string_view, TokenId> vocabulary;
    const std::size_t in_model = parts_.entries.size();
    // Their texts must stay where they are.
    parts_.entries.reserve(in_model + list->size());
    for (std::size_t i = 0; i < in_model; ++i) {
      vocabulary.emplace(parts_.entries[i].text, parts_.entries[i].id);
    }
    for (const Json& json : *list) {
      AddedToken token = read_added_token(json);
      if (!problem_.empty()) return;
      const auto found = vocabulary.find(token.content);
      // Hugging Face counts on from the vocabulary, whatever the file says.
      const std::size_t expected =
          found == vocabulary.end() ? parts_.entries.size() : std::size_t{found->second};
      if (token.id != expected) {
        return fail("added token " + internal::quoted(token.content) + " has the id " +
                    std::to_string(token.id) + " where " + std::to_string(expected) +
                    " is expected");
      }
      if (found == vocabulary.end()) parts_.entries.push_back({token.content, token.id, false});
      parts_.added.push_back(std::move(token));
    }
  }

  AddedToken read_added_token(const Json& json) {
    known_keys(json, "an added token",
               {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
    AddedToken token;
    const Json* number = member(json, "id");
    token.id = id(number == nullptr ? Json() : *number).value_or(0);
    token.content = text(json, "content");
    token.single_word = boolean(json, "single_word", false);
    token.lstrip = boolean(json, "lstrip", false);
    token.rstrip = boolean(json, "rstrip", false);
    token.special = boolean(json, "special", false);
    token.normalized = boolean(json, "normalized", true);
    return token;
  }

  void read_normalizer(const Json& json) {
    each_of(json, "normalizers", [this](const Json& part) {
      const std::string type = text(part, "type");
      if (type != "NFC") return unsupported("normalizer", type);
      known_keys(part, "the normalizer NFC", {"type"});
      parts_.nfc = true;
    });
  }

  void read_pre_tokenizer() {
    const Json* json = member(document_.rest, "pre_tokenizer");
    if (json == nullptr) return fail("pre_tokenizer is missing: only byte-level BPE is supported");
    std::vector<PreTokenizerStep> steps;
    bool byte_level = false;
    each_of(*json, "pretokenizers", [&](const Json& part) {
      // After ByteLevel the text is no longer text.
      if (byte_level) return fail("a pre_tokenizer after ByteLevel is not supported");
      const std::string type = text(part, "type");
      if (type == "ByteLevel") {
        byte_level = true;
        return add_byte_level(part, steps);
      }
      if (type == "Digits") {
        known_keys(part, "the pre_tokenizer Digits", {"type", "individual_digits"});
        return add_step(digits_split(boolean(part, "individual_digits", false)), steps);
      }
      if (type == "Split") return add_split(part, steps);
      unsupported("pre_tokenizer", type);
    });
    if (!byte_level) fail("pre_tokenizer does not end with ByteLevel");
    parts_.pre_tokenizer.emplace(std::move(steps));
  }

  void add_step(Result<SplitStep> step, std::vector<PreTokenizerStep>& steps) {
    if (!step) return fail(step.error().message());
    steps.emplace_back(*std::move(step));
  }

  void add_byte_level(const Json& json, std::vector<PreTokenizerStep>& steps) {
    known_keys(json, "the pre_tokenizer ByteLevel",
               {"type", "add_prefix_space", "trim_offsets", "use_regex"});
    if (boolean(json, "add_prefix_space", true)) steps.emplace_back(PrefixSpaceStep{});
    if (boolean(json, "use_regex", true)) add_step(gpt2_split(), steps);
  }

  void add_split(const Json& json, std::vector<PreTokenizerStep>& steps) {
    known_keys(json, "the pre_tokenizer Split", {"type", "pattern", "behavior", "invert"});
    const Json* pattern = member(json, "pattern");
    if (pattern == nullptr || !pattern->is_object() || pattern->size() != 1) {
      return fail("pattern is not {\"Regex\": ...} or {\"String\": ...}");
    }
    const bool literal = pattern->contains("String");
    const std::string source = text(*pattern, literal ? "String" : "Regex");
    const std::optional<SplitBehavior> behavior = behavior_of(text(json, "behavior"));
    if (!behavior) unsupported("behavior", text(json, "behavior"));
    const bool invert = boolean(json, "invert", false);
    if (!problem_.empty()) return;
    Result<Regex> regex = literal ? Regex::from_literal(source) : file_regex(source);
    if (!regex) return fail(regex.error().message());
    steps.emplace_back(SplitStep{*std::move(regex), *behavior, invert});
  }

  static std::optional<SplitBehavior> behavior_of(std::string_view name) {
    if (name == "Removed") return SplitBehavior::kRemoved;
    if (name == "Isolated") return SplitBehavior::kIsolated;
    if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
    if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
    if (name == "Contiguous") return SplitBehavior::kContiguous;
    return std::nullopt;
  }

  void read_post_processor(const Json& json) {
    bool has_template = false;
    each_of(json, "processors", [&](const Json& part) {
      const std::string type = text(part, "type");
      if (type == "ByteLevel") return;  // It changes offsets alone.
      if (type != "TemplateProcessing") return unsupported("post_processor", type);
      if (has_template) return fail("a second TemplateProcessing is not supported");
      has_template = true;
      read_template(part);
    });
  }

  /// Of the templates only the one for a single text is used.
  void read_template(const Json& json) {
    known_keys(json, "TemplateProcessing", {"type", "single", "pair", "special_tokens"});
    const Json* single = member(json, "single");
    if (single == nullptr || !single->is_array() || single->size() > kMaxSteps) {
      return fail("single is not a list of at most 16 pieces");
    }
    bool after_text = false;
    for (const Json& piece : *single) {
      if (const Json* special = member(piece, "SpecialToken")) {
        add_special(json, text(*special, "id"), after_text ? parts_.suffix : parts_.prefix);
        continue;
      }
      const Json* sequence = member(piece, "Sequence");
      if (sequence == nullptr || text(*sequence, "id") != "A" || after_text) {
        return fail("a template has more than special tokens around one text A");
      }
      after_text = true;
    }
    if (!after_text) fail("a template has no text A");
  }

  void add_special(const Json& json, const std::string& name, std::vector<TokenId>& out) {
    const Json* all = member(json, "special_tokens");
    const Json* entry = all == nullptr ? nullptr : member(*all, name.c_str());
    const Json* ids = entry == nullptr ? nullptr : member(*entry, "ids");
    if (ids == nullptr || !ids->is_array() || ids->size() > kMaxSteps) {
      return fail("the template's special token " + internal::quoted(name) + " has no ids");
    }
    for (const Json& each : *ids) {
      const std::optional<TokenId> token = id(each);
      if (!token) return;
      bool known = false;
      for (const TokenEntry& candidate : parts_.entries) known = known || candidate.id == *token;
      if (!known) {
        fail("the template's id " + std::to_string(*token) + " is not in the vocabulary");
      }
      out.push_back(*token);
    }
  }

  void read_decoder() {
    const Json* json = member(document_.rest, "decoder");
    if (json == nullptr) return fail("decoder is missing: only ByteLevel is supported");
    int count = 0;
    each_of(*json, "decoders", [&](const Json& part) {
      const std::string type = text(part, "type");
      if (type != "ByteLevel" || ++count > 1) unsupported("decoder", type);
    });
    if (count == 0) fail("decoder is empty: only ByteLevel is supported");
  }

  TokenizerDocument document_;
  BpeTokenizer::Parts parts_;
  std::string problem_;
};

}  // namespace

Result<BpeTokenizer> BpeTokenizer::from_json(std::string_view json) {
  Result<TokenizerDocument> document = read_tokenizer_document(json);
  if (!document) return document.error();
  Result<Parts> parts = Interpreter(*std::move(document)).run();
  if (!parts) return parts.error();
  return create(*std::move(parts));
}

}  // namespace tinkex::tokenizers
