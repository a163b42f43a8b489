#pragma once

namespace sft {

/// Opens those of standard input, output and error that the program was started without, so that no
/// file takes their number and what is printed does not end up in it. To be called first.
void open_standard_streams();

/// Writes out what was printed. If some of it is lost, says so on standard error and gives false.
bool output_arrived();

}  // namespace sft
