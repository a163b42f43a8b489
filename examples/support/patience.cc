#include "examples/support/patience.h"

#include "examples/support/counted.h"

namespace sft {
namespace {

std::string in_words(std::chrono::milliseconds time) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time).count();
  return seconds < 120 ? counted(seconds, "second") : counted(seconds / 60, "minute");
}

}  // namespace

void Patience::say_waiting(const std::string& what, std::chrono::milliseconds waited) {
  std::string text = "waiting for " + what + " for " + in_words(waited) + " now";
  if (gives_up_.count() > 0) {
    text += "; a server that does not answer is given up after " + in_words(gives_up_);
  }
  gives_up_ = {};  // That is said once.
  say_(text);
}

}  // namespace sft
