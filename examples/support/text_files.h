#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "examples/support/data.h"

namespace sft {

/// Whether the bytes are well-formed UTF-8.
bool is_utf8(std::string_view text) noexcept;

/// Reads a file of examples. By the end of its name:
///
///   .jsonl  an example of tinkex::torch_ext::parse_example on each line
///   .txt    plain text, all of it learned, in pieces of about 128 bytes
///
/// Errors: kInvalidArgument naming the file, the line where there is one, and the remedy.
tinkex::Result<std::vector<Example>> read_examples(const std::filesystem::path& file);

/// The part of the reader that needs no file; `name` begins the errors.
tinkex::Result<std::vector<Example>> parse_plain_text(std::string_view text,
                                                      const std::string& name);

}  // namespace sft
