#pragma once

namespace tinkex::torch_ext::programs {

/// Opens those of standard input, output and error that the program was started without, so that no
/// file or connection takes their number and what is printed does not end up in it. To be called
/// first.
void open_standard_streams();

/// From now on a pipe that nobody reads, or a file that has grown to the limit, is an error of the
/// write, and no signal that ends the program.
void ignore_write_signals();

/// Writes out what was printed. If some of it is lost, says so on standard error, in the name of
/// `program`, and gives false.
bool output_arrived(const char* program);

}  // namespace tinkex::torch_ext::programs
