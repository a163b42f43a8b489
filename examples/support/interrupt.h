#pragma once

#include "torch_ext/programs/stop_signal.h"

namespace sft {

/// From now on Ctrl-C (SIGINT), SIGTERM and SIGHUP only ask the program to stop, which
/// `stop_signal` tells. After that the next Ctrl-C, a moment later at least, ends it at once. A
/// SIGTERM or SIGHUP that the program was started to ignore, as under nohup, stays ignored.
void watch_for_stop();

using tinkex::torch_ext::programs::stop_signal;

/// `Ctrl-C`, `SIGTERM` or `SIGHUP`.
const char* name_of_signal(int signal);

/// What shells expect of a program that a signal ended: this and its number.
inline constexpr int kStoppedBySignal = 128;

}  // namespace sft
