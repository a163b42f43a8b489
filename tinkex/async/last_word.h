#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tinkex/base/mutex.h"

namespace tinkex::internal {

/// What was last heard about a call that is still under way: the failure for which a request is
/// repeated, or why the server keeps it waiting. A deadline that passes tells it.
///
/// The requests of a call share one. Each speaks for itself, so that one for which all is well does
/// not hush another's trouble, and takes its word back when it ends, at the latest.
///
/// Threads: thread-safe. Only calls with a deadline have one.
class LastWord {
 public:
  /// A text that many calls may share. Not null.
  using Text = std::shared_ptr<const std::string>;

  /// `speaker` is an address that is never followed.
  void set(const void* speaker, Text text) TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    erase(speaker);
    words_.emplace_back(speaker, std::move(text));
  }
  /// All is well with `speaker`.
  void clear(const void* speaker) TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    erase(speaker);
  }
  /// The latest of the words that stand; empty: there is none.
  std::string text() const TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return words_.empty() ? std::string() : *words_.back().second;
  }

 private:
  void erase(const void* speaker) TINKEX_REQUIRES(mutex_) {
    std::erase_if(words_, [speaker](const auto& word) { return word.first == speaker; });
  }

  mutable Mutex mutex_;
  std::vector<std::pair<const void*, Text>> words_ TINKEX_GUARDED_BY(mutex_);
};

using LastWordPtr = std::shared_ptr<LastWord>;

/// Sets it to the parts, one after the other; joins them only where somebody listens.
template <class... Parts>
void note(const LastWordPtr& last_word, const void* speaker, const Parts&... parts) {
  if (!last_word) return;
  last_word->set(speaker, std::make_shared<const std::string>((std::string() + ... + parts)));
}

/// Takes the speaker's word back, where somebody listens.
inline void take_back(const LastWordPtr& last_word, const void* speaker) {
  if (last_word) last_word->clear(speaker);
}

}  // namespace tinkex::internal
