#pragma once

// Examples from a file of JSON lines. Nothing here needs LibTorch.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "tinkex/error.h"
#include "torch_ext/training_text.h"

namespace tinkex::torch_ext {

/// How far the reading of a file has come.
struct JsonlProgress {
  std::size_t lines = 0;
  std::uint64_t bytes = 0;
};

struct JsonlOptions {
  /// Bytes; a longer line is an error. More of the file than this is never in memory.
  std::size_t longest_line = std::size_t{16} << 20;
  /// Called on the reading thread about once a MiB, and at the end. Empty: not called.
  std::function<void(const JsonlProgress&)> progress = {};
};

/// Takes one example after another; an error ends the reading.
using ExampleSink = std::function<Status(TextExample)>;

/// Reads a file with an example of parse_example() on each line, and hands them on in order. Empty
/// lines, a byte order mark and the line ends of Windows are skipped.
///
/// Errors: kIo for a file that cannot be opened or read; kInvalidArgument for a line that is no
/// example, beginning `FILE:LINE: `, and for a file without examples. An error of `take` gets the
/// same beginning.
Status for_each_example(const std::filesystem::path& file, const ExampleSink& take,
                        const JsonlOptions& options = {});

/// The same, all at once. Memory grows with the file.
Result<std::vector<TextExample>> read_jsonl(const std::filesystem::path& file,
                                            const JsonlOptions& options = {});

}  // namespace tinkex::torch_ext
