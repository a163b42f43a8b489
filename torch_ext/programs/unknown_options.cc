#include "torch_ext/programs/unknown_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
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

bool is_option(const std::string& word) { return word.size() > 1 && word.front() == '-'; }

}  // namespace

std::vector<std::string> about_unknown(const CLI::App& app) {
  const std::vector<std::string> rest = app.remaining();
  std::vector<std::string> sentences;
  for (std::size_t i = 0; i < rest.size(); ++i) {
    if (!is_option(rest[i])) {
      sentences.push_back("'" + rest[i] + "' belongs to no option");
      continue;
    }
    // Without its value, which may be a secret.
    const std::string typed = rest[i].substr(0, rest[i].find('='));
    const std::string meant = nearest(typed, app);
    if (i + 1 < rest.size() && !is_option(rest[i + 1])) ++i;
    sentences.push_back(typed + ": there is no such option" +
                        (meant.empty() ? "" : "; did you mean " + meant + "?"));
  }
  return sentences;
}

}  // namespace tinkex::torch_ext::programs
