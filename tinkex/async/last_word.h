#pragma once

#include <memory>
#include <string>
#include <utility>

#include "tinkex/base/mutex.h"

namespace tinkex::internal {

/// What was last heard about a call that is still under way: the failure for which a request is
/// repeated, or why the server keeps it waiting. A deadline that passes tells it.
///
/// Threads: thread-safe. Only calls with a deadline have one; the requests of a call share it.
class LastWord {
 public:
  /// Empty: all is well.
  void set(std::string text) TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    text_ = std::move(text);
  }
  std::string text() const TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return text_;
  }

 private:
  mutable Mutex mutex_;
  std::string text_ TINKEX_GUARDED_BY(mutex_);
};

using LastWordPtr = std::shared_ptr<LastWord>;

/// Sets it where somebody listens.
inline void note(const LastWordPtr& last_word, std::string text) {
  if (last_word) last_word->set(std::move(text));
}

}  // namespace tinkex::internal
