#include "tinkex/validation/problems.h"

#include <string>
#include <utility>

#include "tinkex/base/text.h"

namespace tinkex {

std::string to_string(const Problem& problem) {
  std::string text;
  if (problem.datum) text = "datum " + std::to_string(*problem.datum) + ", ";
  text.append(problem.field).append(": expected ").append(problem.expected);
  return text.append(", got ").append(problem.actual).append("; ").append(problem.remedy);
}

Status ProblemList::status() const {
  if (count == 0) return ok_status();
  if (count == 1 && problems.size() == 1) return invalid_argument(to_string(problems.front()));
  std::string message = std::to_string(count) + (count == 1 ? " problem:" : " problems:");
  for (std::size_t i = 0; i < problems.size(); ++i) {
    message += " (" + std::to_string(i + 1) + ") " + to_string(problems[i]);
  }
  if (count > problems.size()) {
    message += " and " + std::to_string(count - problems.size()) + " more";
  }
  return invalid_argument(std::move(message));
}

namespace internal {

void Problems::add(const Place& place, std::string_view expected, std::string_view actual,
                   std::string_view remedy) {
  if (++list_.count > max_told_) return;
  list_.problems.push_back({place.datum, printable(place.field, 120), std::string(expected),
                            std::string(actual), std::string(remedy)});
}

}  // namespace internal
}  // namespace tinkex
