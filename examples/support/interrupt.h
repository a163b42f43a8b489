#pragma once

namespace sft {

/// From now on the first Ctrl-C (SIGINT) only asks the program to stop, which
/// `interrupt_requested` tells; the second ends it at once.
void watch_for_interrupt();
bool interrupt_requested();

/// What shells expect of a program that Ctrl-C ended.
inline constexpr int kInterrupted = 130;

}  // namespace sft
