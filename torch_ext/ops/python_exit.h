#pragma once

// Futures and the end of Python. A Future may have callbacks that are Python functions. The
// executor settles it, and takes Python's interpreter lock for them. Once Python is finalising,
// taking that lock ends the thread by an unwinding that noexcept functions turn into the end of the
// process. So from the moment when Python begins to exit no Future is settled.

namespace tinkex::torch_ext {

/// Held while a Future is being settled.
class SettlePass {
 public:
  SettlePass();
  ~SettlePass();
  SettlePass(const SettlePass&) = delete;
  SettlePass& operator=(const SettlePass&) = delete;

  /// False after stop_callbacks(): then the Future must be left alone, and not be destroyed either.
  explicit operator bool() const noexcept { return given_; }

 private:
  const bool given_;
};

/// Ends the settling of Futures in this process, for good; waits, five seconds at most, for
/// callbacks that are running. An op calls it, so that Python's lock is free meanwhile.
void stop_callbacks();

/// Makes Python call stop_callbacks() as one of its exit handlers, if this process runs Python and
/// has not been asked before.
void stop_callbacks_at_python_exit();

}  // namespace tinkex::torch_ext
