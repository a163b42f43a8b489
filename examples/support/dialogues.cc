#include "examples/support/dialogues.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

namespace sft {
namespace {

using json = nlohmann::ordered_json;
using tinkex::invalid_argument;
using tinkex::Result;

/// A run that goes on another day sees what it would have seen. Llama's templates name this day
/// where they know of no other.
constexpr std::chrono::local_days kToday{std::chrono::year(2024) / std::chrono::July / 26};

/// A turn of the assistant: what comes before, and what it adds.
struct Turn {
  std::string before;
  std::string whole;
};

class DialogueWriter {
 public:
  DialogueWriter(const tinkex::ChatTemplate& chat, const json& dialogue) : chat_(chat) {
    inputs_.now = kToday;
    if (const auto tools = dialogue.find("tools"); tools != dialogue.end()) {
      inputs_.variables["tools"] = *tools;
    }
  }

  Result<std::vector<Example>> write(const json& messages) {
    json past = json::array();
    for (const json& message : messages) {
      if (message.at("role") == "assistant") {
        const Result<Turn> turn = turn_after(past, message);
        if (!turn) return turn.error();
        add(*turn);
      }
      past.push_back(message);
    }
    return std::move(examples_);
  }

 private:
  Result<std::string> render(const json& messages, bool add_generation_prompt) {
    inputs_.add_generation_prompt = add_generation_prompt;
    return chat_.render(messages, inputs_);
  }

  Result<Turn> turn_after(const json& past, const json& message) {
    json with = past;
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

  void add(const Turn& turn) {
    if (examples_.empty() || !turn.before.starts_with(written_)) {
      examples_.push_back({.parts = {}, .ended = false, .begun = true});
      written_.clear();
    }
    std::vector<Part>& parts = examples_.back().parts;
    parts.push_back({turn.before.substr(written_.size()), false});
    parts.push_back({turn.whole.substr(turn.before.size()), true});
    written_ = turn.whole;
  }

  const tinkex::ChatTemplate& chat_;
  tinkex::ChatInputs inputs_;
  std::vector<Example> examples_;
  std::string written_;  ///< All parts of the last example.
};

}  // namespace

Result<std::vector<Example>> write_dialogue(const tinkex::ChatTemplate& chat,
                                            const std::string& line) {
  const json dialogue = json::parse(line);
  return DialogueWriter(chat, dialogue).write(dialogue.at("messages"));
}

std::string spoken(const std::string& text, const tinkex::Tokenizer& tokenizer) {
  std::vector<std::int64_t> tokens = tokenizer.encode(text);
  tokens.erase(std::find(tokens.begin(), tokens.end(), tokenizer.eos_token()), tokens.end());
  return tokenizer.decode(tokens);
}

}  // namespace sft
