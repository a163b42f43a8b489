#include "examples/support/superseded.h"

#include <chrono>
#include <string>
#include <vector>

namespace sft {
namespace {

/// Training waits for it.
constexpr std::chrono::seconds kPatience{10};

}  // namespace

void SupersededCheckpoints::remove() {
  if (!answers_) return;
  bool settled = true;
  for (const std::string& path : run_.superseded()) {
    if (path == run_.checkpoint()) continue;
    const auto gone = service_.delete_checkpoint(path, {.deadline = kPatience}).get();
    // With a status it has answered: there is none, or it does not do that.
    const int status = gone ? 0 : gone.error().http_status();
    if (!gone && (status == 0 || status >= 500)) settled = false;
    if (!gone && status == 0) answers_ = false;
  }
  if (settled) run_.forget_superseded();
}

}  // namespace sft
