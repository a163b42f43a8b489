#include "examples/support/report.h"

#include <algorithm>
#include <limits>

#include "examples/support/counted.h"
#include "examples/support/text_files.h"

namespace sft {
namespace {

constexpr std::size_t kShown = 6;
constexpr std::size_t kNarrow = 24;
constexpr std::size_t kWide = 120;

/// Whether a character of UTF-8 goes on with that byte.
bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

/// Columns that the text takes: continuation bytes take none.
std::size_t columns_of(std::string_view text) {
  return text.size() - static_cast<std::size_t>(std::count_if(text.begin(), text.end(), continues));
}

/// What comes last is what the model goes on from.
std::string show_prompt(const Prompt& prompt, std::size_t most) {
  return prompt.shown.empty() ? show_end(prompt.text, most) : show_text(prompt.shown, most);
}

std::string padded(std::string text, std::size_t columns) {
  const std::size_t taken = columns_of(text);
  if (taken < columns) text.append(columns - taken, ' ');
  return text;
}

/// One line a prompt, in columns.
std::string table(const std::vector<Prompt>& prompts, const Answers& before, const Answers& after) {
  const auto row = [](std::string prompt, std::string first, std::string second,
                      const std::string& right) {
    return "  " + padded(std::move(prompt), kNarrow) + padded(std::move(first), kNarrow) +
           padded(std::move(second), kNarrow) + right + "\n";
  };
  const auto cell = [](const Answers& answers, std::size_t i) {
    return i < answers.texts.size() ? show_text(answers.texts[i], kNarrow - 2) : std::string();
  };
  std::string out = row("prompt", before.name, after.name, "expected");
  for (std::size_t i = 0; i < std::min(kShown, prompts.size()); ++i) {
    out += row(show_prompt(prompts[i], kNarrow - 2), cell(before, i), cell(after, i),
               show_text(prompts[i].expected.value_or(""), kNarrow - 2));
  }
  return out;
}

/// Longer texts, below each other.
std::string blocks(const std::vector<Prompt>& prompts, const Answers& before,
                   const Answers& after) {
  const std::size_t columns = std::max(sizeof("expected"), before.name.size() + 1) + 1;
  std::string out;
  const auto line = [&](const std::string& name, const std::string& shown) {
    out += "  " + padded(name + ":", columns) + shown + "\n";
  };
  for (std::size_t i = 0; i < std::min(kShown, prompts.size()); ++i) {
    line("prompt", show_prompt(prompts[i], kWide));
    for (const Answers* answers : {&before, &after}) {
      if (i < answers->texts.size()) line(answers->name, show_text(answers->texts[i], kWide));
    }
    if (prompts[i].expected) line("expected", show_text(*prompts[i].expected, kWide));
    out += "\n";
  }
  return out;
}

}  // namespace

std::string show_text(std::string_view text, std::size_t most) {
  std::string shown;
  std::size_t fits = 0;  // Bytes that leave room for the dots.
  for (std::size_t at = 0; at < text.size() && shown.size() <= most;) {
    std::size_t length = 1;
    while (length < 4 && !is_utf8(text.substr(at, length))) ++length;
    const std::string_view character = text.substr(at, length);
    const bool whole = is_utf8(character);
    const auto first = static_cast<unsigned char>(character.front());
    if (first == '\n') {
      shown += "\\n";
    } else {
      shown += whole && first >= 0x20 && first != 0x7F ? character : std::string_view("?");
    }
    at += whole ? character.size() : 1;
    if (shown.size() + 3 <= most) fits = shown.size();
  }
  return shown.size() <= most ? shown : shown.substr(0, fits) + "...";
}

std::string show_end(std::string_view text, std::size_t most) {
  std::string shown = show_text(text, std::numeric_limits<std::size_t>::max() - 4);
  if (shown.size() <= most) return shown;
  std::size_t begin = shown.size() - std::min(most, shown.size()) + 3;
  while (begin < shown.size() && continues(shown[begin])) ++begin;
  if (begin < shown.size() && shown[begin] == 'n' && shown[begin - 1] == '\\') ++begin;
  return "..." + shown.substr(std::min(begin, shown.size()));
}

std::string score(const std::vector<Prompt>& prompts, const std::vector<std::string>& answers) {
  std::size_t asked = 0;
  std::size_t right = 0;
  for (std::size_t i = 0; i < std::min(prompts.size(), answers.size()); ++i) {
    if (!prompts[i].expected) continue;
    ++asked;
    if (answers[i] == *prompts[i].expected) ++right;
  }
  if (asked == 0) return counted(answers.size(), "prompt") + " sampled";
  return std::to_string(right) + " of " + counted(asked, "prompt") + " exactly right (" +
         std::to_string((100 * right + asked / 2) / asked) + " %)";
}

std::string compare(const std::vector<Prompt>& prompts, const Answers& before,
                    const Answers& after) {
  const bool narrow = std::all_of(prompts.begin(), prompts.end(), [](const Prompt& prompt) {
    return prompt.expected && std::max(prompt.text.size(), prompt.expected->size()) < kNarrow - 1;
  });
  return narrow ? table(prompts, before, after) : blocks(prompts, before, after);
}

}  // namespace sft
