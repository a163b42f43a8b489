#include "torch_ext/training_text.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "tinkex/base/bounded_json.h"
#include "tinkex/base/text.h"

namespace tinkex::torch_ext {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kDeepest = 64;

constexpr char kForms[] =
    R"(expected {"messages": [{"role": "...", "content": "..."}, ...]}, {"prompt": "...", )"
    R"("completion": "..."} or {"text": "..."})";

/// A run that goes on another day sees what it would have seen. Llama's templates name this day
/// where they know of no other.
constexpr std::chrono::local_days kToday{std::chrono::year(2024) / std::chrono::July / 26};

std::string kind_of(const Json& value) {
  if (value.is_null()) return "null";
  const std::string type = value.type_name();
  return (type == "array" || type == "object" ? "an " : "a ") + type;
}

Error wrong_type(const std::string& field, const Json& value, const std::string& expected) {
  return invalid_argument("field '" + field + "' is " + kind_of(value) + ", expected " + expected);
}

/// The text in a member; `path` goes before the name in errors.
Result<std::string> text_in(const Json& object, const std::string& name,
                            const std::string& path = "") {
  const auto found = object.find(name);
  if (found == object.end()) {
    return invalid_argument("field '" + path + name + "' is missing, expected a string");
  }
  if (!found->is_string()) return wrong_type(path + name, *found, "a string");
  return found->get<std::string>();
}

Result<std::string> trained_text_in(const Json& object, const std::string& name,
                                    const std::string& path = "") {
  Result<std::string> text = text_in(object, name, path);
  if (text && text->empty()) {
    return invalid_argument("field '" + path + name +
                            "' is empty: nothing to learn; leave the example out");
  }
  return text;
}

/// What keeps a text from being JSON. Shows nothing of it, as it may be private.
std::string problem_of(std::string_view text) {
  try {
    static_cast<void>(Json::parse(text));
  } catch (const Json::parse_error& error) {
    if (error.byte > text.size()) return "it breaks off after byte " + std::to_string(text.size());
    return "it makes no sense at byte " + std::to_string(error.byte);
  } catch (const Json::out_of_range&) {
    return "a number in it is too large";
  }
  return "";
}

Result<Json> parse_object(std::string_view text) {
  if (!internal::is_utf8(text)) {
    return invalid_argument("is not UTF-8; convert the file, e.g. with iconv");
  }
  if (internal::nesting_depth(text, kDeepest + 1) > kDeepest) {
    return invalid_argument("nests deeper than " + std::to_string(kDeepest) +
                            ", the most that is read; leave out what has no part in training");
  }
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) {
    return invalid_argument("is not JSON: " + problem_of(text) + "; each line must be one object");
  }
  if (!value.is_object()) return invalid_argument("is " + kind_of(value) + ", " + kForms);
  return value;
}

Result<TextExample> from_pair(const Json& object) {
  Result<std::string> prompt = text_in(object, "prompt");
  if (!prompt) return std::move(prompt).error();
  Result<std::string> completion = trained_text_in(object, "completion");
  if (!completion) return std::move(completion).error();
  return TextExample{.parts = {{*std::move(prompt), false}, {*std::move(completion), true}}};
}

/// The dialogue as `role: content` lines.
Result<TextExample> from_messages(const Json& messages) {
  if (!messages.is_array()) return wrong_type("messages", messages, "an array of objects");
  TextExample example;
  std::string untrained;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const Json& message = messages[i];
    const std::string path = "messages[" + std::to_string(i) + "]";
    if (!message.is_object()) {
      return wrong_type(path, message, R"({"role": "...", "content": "..."})");
    }
    const Result<std::string> role = text_in(message, "role", path + ".");
    if (!role) return role.error();
    const bool trained = *role == "assistant";
    Result<std::string> content = trained ? trained_text_in(message, "content", path + ".")
                                          : text_in(message, "content", path + ".");
    if (!content) return std::move(content).error();
    untrained += *role + ": ";
    if (!trained) {
      untrained += *content + "\n";
      continue;
    }
    example.parts.push_back({std::exchange(untrained, "\n"), false});
    example.parts.push_back({*std::move(content), true});
  }
  if (example.parts.empty()) {
    return invalid_argument("field 'messages' has none of role 'assistant': nothing to learn");
  }
  return example;
}

/// A turn of the assistant: what comes before, and what it adds.
struct Turn {
  std::string before;
  std::string whole;
};

class DialogueWriter {
 public:
  DialogueWriter(const ChatTemplate& chat, const Json& dialogue) : chat_(chat) {
    inputs_.now = kToday;
    if (const auto tools = dialogue.find("tools"); tools != dialogue.end()) {
      inputs_.variables["tools"] = *tools;
    }
  }

  Result<std::vector<TextExample>> write(const Json& messages) {
    Json past = Json::array();
    for (const Json& message : messages) {
      if (message.at("role") == "assistant") {
        const Result<Turn> turn = turn_after(past, message);
        if (!turn) return turn.error();
        if (turn->whole.size() == turn->before.size()) return writes_nothing();
        add(*turn);
      }
      past.push_back(message);
    }
    return std::move(examples_);
  }

 private:
  Result<std::string> render(const Json& messages, bool add_generation_prompt) {
    inputs_.add_generation_prompt = add_generation_prompt;
    return chat_.render(messages, inputs_);
  }

  Result<Turn> turn_after(const Json& past, const Json& message) {
    Json with = past;
    with.push_back(message);
    Result<std::string> whole = render(with, false);
    if (!whole) return whole.error();
    // Some templates begin an answer with what they do not write in one, such as a tag.
    for (const bool prompt : {true, false}) {
      Result<std::string> before = render(past, prompt);
      if (!before) return before.error();
      if (whole->starts_with(*before)) return Turn{*std::move(before), *std::move(whole)};
    }
    return invalid_argument(
        "the model's chat template does not write an assistant's turn after what comes before it; "
        "give the line as \"prompt\" and \"completion\"");
  }

  static Error writes_nothing() {
    return invalid_argument(
        "the model's chat template writes nothing for an assistant's turn: nothing to learn; mend "
        "the template, or give the line as \"prompt\" and \"completion\"");
  }

  void add(const Turn& turn) {
    if (examples_.empty() || !turn.before.starts_with(written_)) {
      examples_.push_back({.parts = {}, .ended = false, .begun = true});
      written_.clear();
    }
    std::vector<TextPart>& parts = examples_.back().parts;
    parts.push_back({turn.before.substr(written_.size()), false});
    parts.push_back({turn.whole.substr(turn.before.size()), true});
    written_ = turn.whole;
  }

  const ChatTemplate& chat_;
  ChatInputs inputs_;
  std::vector<TextExample> examples_;
  std::string written_;  ///< All parts of the last example.
};

}  // namespace

Result<TextExample> parse_example(std::string_view json) {
  const Result<Json> object = parse_object(json);
  if (!object) return object.error();
  if (const auto messages = object->find("messages"); messages != object->end()) {
    Result<TextExample> example = from_messages(*messages);
    if (example) example->dialogue = json;
    return example;
  }
  if (object->contains("prompt") || object->contains("completion")) return from_pair(*object);
  if (!object->contains("text")) {
    return invalid_argument(std::string("has no field that holds an example, ") + kForms);
  }
  Result<std::string> text = trained_text_in(*object, "text");
  if (!text) return std::move(text).error();
  return TextExample{.parts = {{*std::move(text), true}}};
}

Result<std::vector<TextExample>> write_dialogue(const ChatTemplate& chat,
                                                std::string_view dialogue) {
  const Result<Json> object = parse_object(dialogue);
  if (!object) return object.error();
  const auto messages = object->find("messages");
  if (messages == object->end()) {
    return invalid_argument("field 'messages' is missing, expected an array of objects");
  }
  if (const Result<TextExample> plain = from_messages(*messages); !plain) return plain.error();
  return DialogueWriter(chat, *object).write(*messages);
}

Result<TokenizedText> tokenize(const TextExample& example, const Tokenizer& tokenizer) {
  const std::int64_t end = tokenizer.eos_token();
  const auto no_end = [] {
    return invalid_argument(
        "the tokenizer does not tell which token ends a text; load it from the model's folder, or "
        "from a tokenizer.json beside its tokenizer_config.json");
  };
  TokenizedText text;
  if (!example.begun) text.tokens = tokenizer.begin_of_text();
  text.weights.resize(text.tokens.size(), 0.0F);
  for (const TextPart& part : example.parts) {
    const std::vector<std::int64_t> ids = tokenizer.encode(part.text);
    text.tokens.insert(text.tokens.end(), ids.begin(), ids.end());
    if (part.trained && example.ended) {
      if (end < 0) return no_end();
      text.tokens.push_back(end);
    }
    text.weights.resize(text.tokens.size(), part.trained ? 1.0F : 0.0F);
  }
  if (text.tokens.size() == 1) {
    if (end < 0) return no_end();
    text.tokens.insert(text.tokens.begin(), end);
    text.weights.insert(text.weights.begin(), 0.0F);
  }
  return text;
}

}  // namespace tinkex::torch_ext
