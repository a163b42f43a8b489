#include "examples/support/text_files.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "examples/support/files.h"
#include "torch_ext/jsonl.h"

namespace sft {
namespace {

using tinkex::invalid_argument;
using tinkex::Result;

/// Bytes of a piece of plain text.
constexpr std::size_t kPiece = 128;

/// Length of the well-formed UTF-8 sequence that `text` begins with, or 0.
std::size_t sequence_length(std::string_view text) noexcept {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and what lies beyond Unicode.
  if (first == 0xE0 && byte(1) < 0xA0) return 0;
  if (first == 0xED && byte(1) > 0x9F) return 0;
  if (first == 0xF0 && byte(1) < 0x90) return 0;
  if (first == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

/// Where a piece that begins at 0 ends: after a line or a word if one ends in its second half,
/// never within a character.
std::size_t piece_length(std::string_view text) {
  if (text.size() <= kPiece) return text.size();
  for (const char* ends : {"\n", " "}) {
    const std::size_t at = text.substr(0, kPiece).find_last_of(ends);
    if (at != std::string_view::npos && at >= kPiece / 2) return at + 1;
  }
  for (std::size_t length = kPiece; length > kPiece - 4; --length) {
    if ((static_cast<unsigned char>(text[length]) & 0xC0) != 0x80) return length;
  }
  return kPiece;  // Not UTF-8, which the caller finds out.
}

Result<std::string> read_file(const std::filesystem::path& path) {
  const auto refuse = [&](const std::string& why) {
    return invalid_argument("--data " + path.string() + ": " + why);
  };
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (error) return refuse(error.message() + "; check the name");
  if (std::filesystem::is_directory(status)) {
    return refuse("is a directory; name a .jsonl or .txt file");
  }
  // All of it is held in memory, and a device may have no end.
  if (!std::filesystem::is_regular_file(status))
    return refuse("is no regular file; copy it to one");
  Result<std::string> text = read_text(path);
  if (!text) {
    return invalid_argument("--data: " + text.error().message() +
                            "; check the name, and who may read it");
  }
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text->starts_with(kByteOrderMark)) text->erase(0, kByteOrderMark.size());
  return text;
}

}  // namespace

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

Result<std::vector<Example>> parse_plain_text(std::string_view text, const std::string& name) {
  std::vector<Example> examples;
  std::size_t line = 1;
  while (!text.empty()) {
    const std::size_t length = piece_length(text);
    const std::string_view piece = text.substr(0, length);
    text.remove_prefix(length);
    if (!is_utf8(piece)) {
      return invalid_argument(name + ", at or after line " + std::to_string(line) +
                              ": is not UTF-8; convert the file, e.g. with iconv");
    }
    line += static_cast<std::size_t>(std::count(piece.begin(), piece.end(), '\n'));
    if (piece.find_first_not_of(" \t\r\n") == std::string_view::npos) continue;
    examples.push_back({.parts = {{std::string(piece), true}}, .ended = false});
  }
  if (examples.empty()) return invalid_argument(name + ": is empty; give it some text");
  return examples;
}

Result<std::vector<Example>> read_examples(const std::filesystem::path& file) {
  const std::string name = "--data " + file.string();
  const std::string ending = file.extension().string();
  if (ending == ".jsonl") {
    Result<std::vector<Example>> examples = tinkex::torch_ext::read_jsonl(file);
    // A name that leads nowhere is the caller's mistake, like a bad line.
    if (!examples) return invalid_argument("--data " + examples.error().message());
    return examples;
  }
  if (ending != ".txt") return invalid_argument(name + ": the name must end in .jsonl or .txt");
  const Result<std::string> text = read_file(file);
  if (!text) return text.error();
  return parse_plain_text(*text, name);
}

}  // namespace sft
