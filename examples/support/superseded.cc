#include "examples/support/superseded.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <vector>

namespace sft {
namespace {

/// Training waits for it.
constexpr std::chrono::seconds kPatience{10};

/// Whether to ask again would be in vain: there is none, or the server does not do that.
bool is_settled(int status) {
  constexpr std::array kFinal{404, 405, 410, 501};
  return std::ranges::find(kFinal, status) != kFinal.end();
}

}  // namespace

void SupersededCheckpoints::remove() {
  const std::vector<std::string> all = run_.superseded();
  for (const std::string& path : all) {
    if (!answers_) return;
    const auto gone = service_.delete_checkpoint(path, {.deadline = kPatience}).get();
    if (gone || is_settled(gone.error().http_status())) {
      run_.forget_superseded(path);
    } else {
      answers_ = false;
    }
  }
}

}  // namespace sft
