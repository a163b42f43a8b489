#pragma once

namespace tinkex::torch_ext::programs {

/// For the handlers of signals that ask a program to stop: true for the first such signal. A later
/// Ctrl-C (SIGINT), a moment later at least, ends the program when the handler returns; any other
/// changes nothing. May change errno.
bool is_first_stop(int signal);

/// The signal that asked first, or 0.
int stop_signal();

}  // namespace tinkex::torch_ext::programs
