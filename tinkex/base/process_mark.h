#pragma once

#include <sys/types.h>
#include <unistd.h>

namespace tinkex::internal {

/// Remembers in which process it was made. fork() copies memory but only the calling thread: what
/// waits for another thread would wait for ever in the child.
class ProcessMark {
 public:
  /// Whether this is a child of the process where the mark was made. One system call.
  bool in_forked_child() const noexcept { return ::getpid() != pid_; }

 private:
  ::pid_t pid_ = ::getpid();
};

}  // namespace tinkex::internal
