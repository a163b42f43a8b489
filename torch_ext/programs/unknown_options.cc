#include "torch_ext/programs/unknown_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstddef>
#include <numeric>
#include <string_view>

namespace tinkex::torch_ext::programs {
namespace {

/// Letters to insert, to delete or to replace until one word is the other.
std::size_t distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= from.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= to.size(); ++j) {
      const std::size_t replaced = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

/// The option that a misspelt one is most like; "" if it is like none.
std::string nearest(std::string_view name, const CLI::App& app) {
  std::size_t least = std::max<std::size_t>(2, name.size() / 3) + 1;
  std::string found;
  for (const CLI::Option* option : app.get_options()) {
    const std::size_t far = distance(name, option->get_name());
    if (far >= least) continue;
    least = far;
    found = option->get_name();
  }
  return found;
}

/// A word that the parser has left over, and its number in the command line, or 0.
struct Word {
  std::string text;
  int place = 0;
};

bool takes_value(const CLI::App& app, const std::string& word) {
  const CLI::Option* option = app.get_option_no_throw(word);
  return option != nullptr && option->get_items_expected_max() > 0;
}

std::vector<Word> left_over(const CLI::App& app, int argc, const char* const* argv) {
  std::vector<Word> words;
  int last = 0;
  for (const std::string& text : app.remaining()) {
    int place = last + 1;
    while (place < argc && (argv[place] != text || takes_value(app, argv[place - 1]))) ++place;
    words.push_back({text, place < argc ? place : 0});
    if (place < argc) last = place;
  }
  return words;
}

bool is_option(std::string_view word) { return word.size() > 1 && word.front() == '-'; }

/// Whether it looks like nothing but the name of an option, and so may be shown.
bool is_name(std::string_view word) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz-_";
  return word.starts_with("--") && word.find_first_not_of(kLetters) == std::string_view::npos;
}

/// Without the value that it may bring along.
std::string name_of(const Word& word) { return word.text.substr(0, word.text.find('=')); }

/// Whether it is a dash and a letter, as in `-p`.
bool is_letter(std::string_view word) {
  return word.size() == 2 && word.front() == '-' &&
         std::isalpha(static_cast<unsigned char>(word[1]));
}

/// Whether a word is an option that says so, and not the value of the one before it.
bool is_plain_option(const Word& word) { return is_name(name_of(word)) || is_letter(word.text); }

/// Anything may be a secret that was typed in the wrong place.
std::string shown(const Word& word) {
  if (is_plain_option(word)) return name_of(word);
  const std::string length = "length " + std::to_string(word.text.size());
  if (word.place == 0) return "an argument of " + length;
  return "argument " + std::to_string(word.place) + " (" + length + ")";
}

}  // namespace

std::vector<std::string> about_unknown(const CLI::App& app, int argc, const char* const* argv) {
  const std::vector<Word> words = left_over(app, argc, argv);
  std::vector<std::string> sentences;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (!is_option(words[i].text)) {
      sentences.push_back(shown(words[i]) + " belongs to no option");
      continue;
    }
    const std::string meant = nearest(name_of(words[i]), app);
    sentences.push_back(shown(words[i]) + ": there is no such option" +
                        (meant.empty() ? "" : "; did you mean " + meant + "?"));
    const bool has_value = i + 1 < words.size() && words[i + 1].place == words[i].place + 1 &&
                           !is_plain_option(words[i + 1]);
    if (has_value) ++i;
  }
  return sentences;
}

}  // namespace tinkex::torch_ext::programs
