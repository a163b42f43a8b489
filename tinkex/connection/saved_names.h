#pragma once

#include <set>
#include <string>
#include <string_view>

#include "tinkex/base/mutex.h"
#include "tinkex/retry/retry_loop.h"

namespace tinkex::internal {

/// The names that a model's checkpoints were given, which tell what "the name is taken" means in
/// reply to a save that is repeated because an answer was lost. Thread-safe.
class SavedNames {
 public:
  /// A save of this name begins. Only of a new name it is certain that who has taken it is an
  /// earlier attempt of the save: names are a model's own. Some servers refuse a name that they
  /// have whatever `overwrite` says. A save that never leaves spends its name, too, which costs a
  /// later one the certainty and nothing else.
  ///
  /// `kind` is that of the path: "weights" or "sampler_weights".
  DoneBefore add(const std::string& model_id, std::string_view kind, const std::string& name);

 private:
  Mutex mutex_;
  std::set<std::string> paths_ TINKEX_GUARDED_BY(mutex_);
};

}  // namespace tinkex::internal
