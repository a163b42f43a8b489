#include "tinkex/validation/problems.h"

#include <utility>

#include "tinkex/base/text.h"

namespace tinkex::internal {

void Problems::add(const Place& place, std::string_view expected, std::string_view got,
                   std::string_view remedy) {
  if (++count_ > kMaxTold) return;
  std::string text;
  if (place.datum) text = "datum " + std::to_string(*place.datum) + ", ";
  text.append(printable(place.field, 120)).append(": expected ").append(expected);
  text.append(", got ").append(got).append("; ").append(remedy);
  told_.push_back(std::move(text));
}

Status Problems::status() const {
  if (count_ == 0) return ok_status();
  if (count_ == 1) return invalid_argument(told_.front());
  std::string message = std::to_string(count_) + " problems:";
  for (std::size_t i = 0; i < told_.size(); ++i) {
    message += " (" + std::to_string(i + 1) + ") " + told_[i];
  }
  if (count_ > told_.size()) message += " and " + std::to_string(count_ - told_.size()) + " more";
  return invalid_argument(std::move(message));
}

}  // namespace tinkex::internal
