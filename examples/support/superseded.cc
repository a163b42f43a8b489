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
bool is_settled(const tinkex::Error& error) {
  constexpr std::array kFinal{404, 405, 410, 501};
  return std::ranges::find(kFinal, error.http_status()) != kFinal.end();
}

/// Whether the answer is about that checkpoint alone, and others may go.
bool is_answered(const tinkex::Error& error) {
  const int status = error.http_status();
  if (status == 0) return error.code() == tinkex::ErrorCode::kInvalidArgument;
  return status < 500 && status != 408 && status != 429;
}

}  // namespace

void SupersededCheckpoints::remove() {
  const std::vector<std::string> all = run_.superseded();
  for (const std::string& path : all) {
    if (deletes_ && path != run_.unrecorded()) remove(path);
  }
}

void SupersededCheckpoints::remove_unrecorded() {
  const std::string path = run_.unrecorded();
  if (!path.empty()) remove(path);
}

void SupersededCheckpoints::remove(const std::string& path) {
  const auto gone = service_.delete_checkpoint(path, {.deadline = kPatience}).get();
  if (gone || is_settled(gone.error())) {
    run_.forget_superseded(path);
  } else {
    deletes_ = is_answered(gone.error());
  }
}

}  // namespace sft
