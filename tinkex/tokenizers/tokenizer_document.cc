#include "tinkex/tokenizers/tokenizer_document.h"

#include "tinkex/base/text.h"

namespace tinkex::tokenizers {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxDepth = 32;
constexpr std::size_t kModelDepth = 2;  ///< Inside of `model`, itself inside of the whole.

/// Takes the events of nlohmann's parser. Every function gives false to end the parse.
class Reader {
 public:
  bool null() { return scalar(nullptr); }
  bool boolean(bool value) { return scalar(value); }
  bool number_integer(std::int64_t value) { return scalar(value); }
  bool number_unsigned(std::uint64_t value) {
    return part_ == Part::kVocabulary ? add_token(value) : scalar(value);
  }
  bool number_float(double value, const std::string&) { return scalar(value); }
  bool binary(Json::binary_t&) { return fail("binary data"); }
  bool string(std::string& value) {
    return part_ == Part::kMerges ? add_merge_text(value) : scalar(value);
  }

  bool start_object(std::size_t) {
    if (part_ != Part::kRest) return wrong_entry();
    if (is_at("vocab")) {
      document_.vocabulary.emplace();
      part_ = Part::kVocabulary;
      return true;
    }
    return open(Json::object());
  }
  bool end_object() { return close(); }
  bool start_array(std::size_t) {
    if (part_ == Part::kMerges && !in_pair_) {
      in_pair_ = true;
      pair_.clear();
      return true;
    }
    if (part_ != Part::kRest) return wrong_entry();
    if (is_at("merges")) {
      document_.merges.emplace();
      part_ = Part::kMerges;
      return true;
    }
    return open(Json::array());
  }
  bool end_array() { return in_pair_ ? add_merge_pair() : close(); }
  bool key(std::string& value) {
    key_ = std::move(value);
    // The vocabulary's own keys are compared when its table is made.
    if (part_ == Part::kVocabulary) return true;
    const bool large =
        open_.size() == kModelDepth && model_ == open_.back() &&
        ((key_ == "vocab" && document_.vocabulary) || (key_ == "merges" && document_.merges));
    if (large || open_.back()->contains(key_))
      return fail(internal::quoted(key_) + " is there twice");
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const Json::exception&) {
    return fail("no JSON at byte " + std::to_string(position));
  }

  Result<TokenizerDocument> finish() && {
    if (problem_.empty() && !document_.rest.is_object()) problem_ = "it is not an object";
    if (problem_.empty()) return std::move(document_);
    return Error(ErrorCode::kIo, "not a valid tokenizer.json: " + problem_);
  }

 private:
  enum class Part { kRest, kVocabulary, kMerges };

  bool fail(const std::string& what) {
    if (problem_.empty()) problem_ = what;
    return false;
  }
  bool wrong_entry() {
    if (part_ == Part::kVocabulary) {
      return fail("the id of token " + internal::quoted(key_) + " is not an integer of 32 bits");
    }
    return fail("merge " + std::to_string(document_.merges->size()) +
                " is neither \"left right\" nor a pair of texts");
  }

  bool is_at(std::string_view name) const {
    return open_.size() == kModelDepth && open_.back() == model_ && key_ == name;
  }

  Json* put(Json value) {
    if (open_.empty()) return &(document_.rest = std::move(value));
    Json& parent = *open_.back();
    if (parent.is_object()) return &(parent[key_] = std::move(value));
    parent.push_back(std::move(value));
    return &parent.back();
  }
  bool scalar(Json value) {
    if (part_ != Part::kRest) return wrong_entry();
    put(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (open_.size() == kMaxDepth) return fail("more than 32 levels");
    const bool is_model = open_.size() == 1 && open_.back()->is_object() && key_ == "model";
    open_.push_back(put(std::move(value)));
    if (is_model) model_ = open_.back();
    return true;
  }
  bool close() {
    if (part_ == Part::kRest) {
      open_.pop_back();
    } else {
      part_ = Part::kRest;
    }
    return true;
  }

  bool add_token(std::uint64_t id) {
    if (id > UINT32_MAX) return wrong_entry();
    document_.vocabulary->push_back({std::move(key_), static_cast<TokenId>(id), true});
    return true;
  }
  bool add_merge_text(const std::string& text) {
    if (in_pair_) {
      pair_.push_back(text);
      return pair_.size() <= 2 || wrong_entry();
    }
    if (text.starts_with("#version")) return true;
    auto merge = split_merge(text);
    if (!merge) return wrong_entry();
    document_.merges->push_back(*std::move(merge));
    return true;
  }
  bool add_merge_pair() {
    in_pair_ = false;
    if (pair_.size() != 2) return wrong_entry();
    document_.merges->emplace_back(std::move(pair_[0]), std::move(pair_[1]));
    return true;
  }

  TokenizerDocument document_;
  std::vector<Json*>
      open_;  ///< The containers around what comes next; references into them stay
              ///< valid, for nothing is added to one before its last child is closed.
  const Json* model_ = nullptr;
  std::string key_;
  Part part_ = Part::kRest;
  bool in_pair_ = false;
  std::vector<std::string> pair_;
  std::string problem_;
};

}  // namespace

Result<TokenizerDocument> read_tokenizer_document(std::string_view json) {
  Reader reader;
  Json::sax_parse(json.begin(), json.end(), &reader);
  return std::move(reader).finish();
}

std::optional<std::pair<std::string, std::string>> split_merge(std::string_view merge) {
  const std::size_t space = merge.find(' ');
  if (space == std::string_view::npos || merge.find(' ', space + 1) != std::string_view::npos) {
    return std::nullopt;
  }
  return std::pair(std::string(merge.substr(0, space)), std::string(merge.substr(space + 1)));
}

}  // namespace tinkex::tokenizers
