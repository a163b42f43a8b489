#pragma once

namespace sft {

/// From now on Ctrl-C (SIGINT), SIGTERM and SIGHUP only ask the program to stop, which
/// `stop_signal` tells. After that the next Ctrl-C, a moment later at least, ends it at once. A
/// SIGTERM or SIGHUP that the program was started to ignore, as under nohup, stays ignored.
void watch_for_stop();

/// The signal that asked, or 0.
int stop_signal();

/// `Ctrl-C`, `SIGTERM` or `SIGHUP`.
const char* name_of_signal(int signal);

/// What shells expect of a program that a signal ended: this and its number.
inline constexpr int kStoppedBySignal = 128;

/// From now on a pipe that nobody reads, or a file that has grown to the limit, is an error of the
/// write, and no signal that ends the program.
void ignore_write_signals();

}  // namespace sft
