#include "examples/support/file_task.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <utility>

#include "examples/support/counted.h"
#include "examples/support/dice.h"
#include "tinkex/chat_template.h"
#include "torch_ext/local/digest.h"
#include "torch_ext/seeded_order.h"
#include "torch_ext/training_text.h"

namespace sft {
namespace {

namespace local = tinkex::torch_ext::local;

constexpr std::size_t kMostPrompts = 32;
constexpr std::size_t kFewest = 10;  // Below, nothing is held out.
constexpr std::size_t kLongestAnswer = 256;
/// Plain text has no prompt of its own: this many bytes of a piece are one.
constexpr std::size_t kTextPrompt = 32;
constexpr std::size_t kTextAnswer = 64;

/// Whether a character of UTF-8 goes on at that byte.
bool is_inside(const std::string& text, std::size_t at) {
  return (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
}

std::size_t ends_of(const Example& example, const Part& part) {
  return example.ended && part.trained ? 1 : 0;
}

/// The longest beginning of a text, of whole characters, that is `most` tokens.
std::string beginning(const std::string& text, std::size_t most,
                      const tinkex::Tokenizer& tokenizer) {
  std::vector<std::size_t> ends;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i == 0 || !is_inside(text, i)) ends.push_back(i);
  }
  const auto beyond = std::partition_point(ends.begin(), ends.end(), [&](std::size_t end) {
    return tokenizer.encode(std::string_view(text).substr(0, end)).size() <= most;
  });
  return beyond == ends.begin() ? "" : text.substr(0, *std::prev(beyond));
}

/// Up to the last trained part, which is what the model should say.
Prompt prompt_of(const Example& example) {
  if (example.parts.size() == 1) {  // Plain text.
    const std::string& text = example.parts.front().text;
    std::size_t end = std::min(kTextPrompt, text.size());
    while (end > 0 && end < text.size() && is_inside(text, end)) --end;
    return {text.substr(0, end), std::nullopt};
  }
  Prompt prompt;
  prompt.begun = example.begun;
  for (std::size_t i = 0; i + 1 < example.parts.size(); ++i) prompt.text += example.parts[i].text;
  prompt.expected = example.parts.back().text;
  return prompt;
}

/// What the last answer of a dialogue answers to, without the template around it; "" if that is no
/// text.
std::string question_of(const std::string& dialogue) {
  const auto json = nlohmann::json::parse(dialogue, nullptr, false);
  if (!json.is_object() || !json.contains("messages")) return "";
  std::string last, question;
  for (const auto& message : json["messages"]) {
    if (!message.is_object()) return "";
    if (message.value("role", nlohmann::json()) == "assistant") question = last;
    const auto content = message.value("content", nlohmann::json());
    last = content.is_string() ? content.get<std::string>() : "";
  }
  return question;
}

/// Cuts an example to `most` tokens. Whether it was cut.
bool cut(Example& example, std::size_t most, const tinkex::Tokenizer& tokenizer) {
  std::size_t left = most;
  for (std::size_t i = 0; i < example.parts.size(); ++i) {
    Part& part = example.parts[i];
    const std::size_t tokens = tokenizer.encode(part.text).size();
    const std::size_t all = tokens + ends_of(example, part);
    if (all <= left) {
      left -= all;
      continue;
    }
    if (tokens > left) part.text = beginning(part.text, left, tokenizer);
    example.parts.resize(i + 1);
    example.ended = false;  // The end is what was cut.
    return true;
  }
  return false;
}

/// What a model says that says this text: up to its end, without special tokens.
std::string spoken(const std::string& text, const tinkex::Tokenizer& tokenizer) {
  std::vector<std::int64_t> tokens = tokenizer.encode(text);
  tokens.erase(std::find(tokens.begin(), tokens.end(), tokenizer.eos_token()), tokens.end());
  return tokenizer.decode(tokens);
}

bool teaches(const Example& example) {
  return std::any_of(example.parts.begin(), example.parts.end(), [&](const Part& part) {
    return part.trained && part.text.size() + ends_of(example, part) > 0;
  });
}

std::string digest_of(const std::vector<Example>& examples) {
  std::uint64_t hash = 0;
  const auto add = [&hash](std::string_view text) {
    hash = local::hash64(std::as_bytes(std::span(text)), hash);
  };
  for (const Example& example : examples) {
    add(example.dialogue);
    for (const Part& part : example.parts) {
      add(part.text);
      add(part.trained ? "trained" : "read");
    }
    add(example.ended ? "ended" : "open");
  }
  return local::to_hex(hash);
}

class FileTask final : public Task {
 public:
  FileTask(std::string name, std::vector<Example> examples, std::int64_t seed)
      : name_(std::move(name)),
        seed_(seed),
        digest_(digest_of(examples)),
        examples_(std::move(examples)) {
    Dice(seed_, -1).shuffle(examples_);
    const std::size_t tenth = std::min(examples_.size() / 10, kMostPrompts);
    held_out_ = examples_.size() < kFewest ? 0 : tenth;
    const std::size_t all = held_out_ > 0 ? held_out_ : examples_.size();
    const auto first = examples_.end() - static_cast<std::ptrdiff_t>(all);
    shown_.assign(first, first + static_cast<std::ptrdiff_t>(std::min(all, kMostPrompts)));
    for (const Example& example : shown_) prompts_.push_back(prompt_of(example));
    examples_.resize(examples_.size() - held_out_);
  }

  std::string description() const override {
    return name_ + ": " + counted(examples_.size(), "example") + " to learn from, " +
           (held_out_ > 0 ? std::to_string(held_out_) + " held out"
                          : "too few to hold any out: prompts are from these as well");
  }

  std::vector<Example> batch(std::int64_t step, std::int64_t size) const override {
    std::vector<Example> examples;
    std::vector<std::size_t> order;
    const auto count = static_cast<std::int64_t>(examples_.size());
    for (std::int64_t at = step * size; at < (step + 1) * size; ++at) {
      if (order.empty() || at % count == 0) {
        order = tinkex::torch_ext::seeded_order(examples_.size(), static_cast<std::uint64_t>(seed_),
                                                static_cast<std::uint64_t>(at / count));
      }
      examples.push_back(examples_[order[static_cast<std::size_t>(at % count)]]);
    }
    return examples;
  }

  std::string digest() const override { return digest_; }
  const std::vector<Prompt>& prompts() const override { return prompts_; }
  std::int64_t answer_tokens() const override { return answer_tokens_; }

  tinkex::Result<std::string> fit(const tinkex::Tokenizer& tokenizer,
                                  std::int64_t context_length) override {
    const tinkex::Result<std::string> note = write_dialogues(tokenizer);
    if (!note) return note.error();
    const std::size_t begin = tokenizer.begin_of_text().size();
    // The last token is only predicted, never read.
    const std::size_t most = static_cast<std::size_t>(context_length) + 1;
    std::size_t longer = 0;
    std::size_t emptied = 0;
    for (Example& e : examples_) {
      if (!cut(e, most - std::min(most, e.begun ? 0 : begin), tokenizer)) continue;
      ++longer;
      if (!teaches(e)) ++emptied;
    }
    std::erase_if(examples_, [](const Example& example) { return !teaches(example); });
    const std::string context = std::to_string(context_length) + " tokens that the model reads";
    if (examples_.empty()) {
      return tinkex::invalid_argument("--data " + name_ +
                                      ": every example's prompt alone fills the " + context +
                                      "; shorten them or choose another --base-model");
    }
    const std::size_t unasked = fit_prompts(tokenizer, static_cast<std::size_t>(context_length));
    std::vector<std::string> notes;
    if (!note->empty()) notes.push_back(*note);
    if (longer > 0) notes.push_back(about_examples(longer, emptied, context));
    if (unasked > 0) notes.push_back(about_prompts(unasked, context));
    return joined(notes);
  }

 private:
  /// By the model's chat template, or else as they are read. Says which.
  tinkex::Result<std::string> write_dialogues(const tinkex::Tokenizer& tokenizer) {
    const auto is_dialogue = [](const Example& example) { return !example.dialogue.empty(); };
    if (std::none_of(examples_.begin(), examples_.end(), is_dialogue) &&
        std::none_of(shown_.begin(), shown_.end(), is_dialogue)) {
      return std::string();
    }
    const tinkex::ChatTemplateResult chat = tokenizer.chat_template();
    if (!chat || *chat == nullptr) {
      const std::string plain = "dialogues are written in plain lines, \"role: content\": ";
      return plain + (chat ? "the model has no chat template" : chat.error().message());
    }
    std::vector<Example> examples;
    for (const Example& example : examples_) {
      auto written = write(example, **chat);
      if (!written) return written.error();
      for (Example& each : *written) examples.push_back(std::move(each));
    }
    examples_ = std::move(examples);
    prompts_.clear();
    for (const Example& example : shown_) {
      const auto written = write(example, **chat);
      if (!written) return written.error();
      prompts_.push_back(prompt_of(written->back()));
      if (!prompts_.back().begun) continue;
      prompts_.back().expected = spoken(*prompts_.back().expected, tokenizer);
      prompts_.back().shown = question_of(example.dialogue);
    }
    return std::string("dialogues are written by the model's chat template");
  }

  tinkex::Result<std::vector<Example>> write(const Example& example,
                                             const tinkex::ChatTemplate& chat) const {
    if (example.dialogue.empty()) return std::vector<Example>{example};
    auto written = tinkex::torch_ext::write_dialogue(chat, example.dialogue);
    if (written) return written;
    return std::move(written).error().with_context("--data " + name_ + ":" +
                                                   std::to_string(example.line));
  }

  /// Of `longer` examples, `emptied` have nothing left to learn. How many there are without them is
  /// in the description.
  static std::string about_examples(std::size_t longer, std::size_t emptied,
                                    const std::string& context) {
    std::string text = counted(longer, "example") + (longer == 1 ? " is" : " are") +
                       " longer than the " + context + ": ";
    if (longer > emptied) text += std::to_string(longer - emptied) + " cut";
    if (longer > emptied && emptied > 0) text += ", ";
    if (emptied > 0) text += std::to_string(emptied) + " left out, the prompt alone filling them";
    return text;
  }

  std::string about_prompts(std::size_t unasked, const std::string& context) const {
    const std::string text = counted(unasked, "prompt") +
                             " left out, without room for an answer in the " + context + "; ";
    if (!prompts_.empty()) return text + std::to_string(prompts_.size()) + " left to sample";
    return text + "none is left, so nothing is sampled before and after";
  }

  static std::string joined(const std::vector<std::string>& notes) {
    std::string text;
    for (const std::string& note : notes) text += (text.empty() ? "" : "; ") + note;
    return text;
  }

  /// Drops prompts that leave no room for an answer; gives how many.
  std::size_t fit_prompts(const tinkex::Tokenizer& tokenizer, std::size_t context) {
    std::size_t longest = 1;
    for (const Prompt& prompt : prompts_) {
      longest = std::max(
          longest, prompt.expected ? tokenizer.encode(*prompt.expected).size() + 1 : kTextAnswer);
    }
    longest = std::min({longest, kLongestAnswer, context / 2});
    answer_tokens_ = static_cast<std::int64_t>(longest);
    const std::size_t begin = tokenizer.begin_of_text().size();
    return std::erase_if(prompts_, [&](const Prompt& prompt) {
      return (prompt.begun ? 0 : begin) + tokenizer.encode(prompt.text).size() > context - longest;
    });
  }

  const std::string name_;
  const std::int64_t seed_;
  const std::string digest_;
  std::vector<Example> examples_;
  std::size_t held_out_ = 0;
  std::vector<Example> shown_;  ///< Those that the prompts are from.
  std::vector<Prompt> prompts_;
  std::int64_t answer_tokens_ = 1;
};

}  // namespace

std::unique_ptr<Task> file_task(std::string name, std::vector<Example> examples,
                                std::int64_t seed) {
  return std::make_unique<FileTask>(std::move(name), std::move(examples), seed);
}

}  // namespace sft
