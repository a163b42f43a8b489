#pragma once

#include <memory>
#include <optional>

// What happens to threads at the end of Python. A thread that takes Python's interpreter lock while
// Python is finalising ends by an unwinding that noexcept functions turn into the end of the
// process. Two kinds of threads would: the executor, which settles a Future whose callbacks are
// Python functions, and Python's own daemon threads that come back from a wait in an op. So from
// the moment when Python begins to exit no Future is settled, and what is waited for ends. Threads
// that come back from a wait then, also from one that they begin meanwhile, are given time to take
// the lock; after that none comes back. A wait that the end of the services does not end, as for a
// server that is being connected to and does not answer, makes the exit take 5 seconds longer.

namespace tinkex::torch_ext {

class Gate;
struct Connection;

/// Held while a Future is being settled.
class SettlePass {
 public:
  SettlePass();
  ~SettlePass();
  SettlePass(const SettlePass&) = delete;
  SettlePass& operator=(const SettlePass&) = delete;

  /// False after leave_python(): then the Future must be left alone, and not be destroyed either.
  explicit operator bool() const noexcept { return given_; }

 private:
  Gate& gate_;
  const bool given_;
};

/// Held while an op waits for a result, without Python's lock. After leave_python() it lets the
/// thread neither begin nor return, unless it is the one that called that.
class WaitPass {
 public:
  WaitPass();
  ~WaitPass();
  WaitPass(const WaitPass&) = delete;
  WaitPass& operator=(const WaitPass&) = delete;

 private:
  Gate& gate_;
  std::optional<bool> counted_;
};

/// Ends the settling of Futures in this process, for good, and closes the services that are open.
/// Waits, a few seconds at most, for callbacks that are running and for threads that come back from
/// their waits. An op calls it, so that Python's lock is free meanwhile. In a child of fork it ends
/// what the child itself has, and waits for nothing of its parent's.
void leave_python();

/// Makes Python call leave_python() as one of its exit handlers, if this process runs Python and
/// has not been asked before.
void leave_python_at_its_exit();

/// What leave_python() closes. A process without Python closes it when it exits: calls that nobody
/// holds any more may keep it open, and their threads must not outlive static variables.
void close_at_exit(std::weak_ptr<Connection> connection);

}  // namespace tinkex::torch_ext
