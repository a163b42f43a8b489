#include "tinkex/tokenizers/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <vector>

#include "tinkex/tokenizers/utf8.h"

namespace tinkex::tokenizers {
namespace {

/// No character below has a decomposition that NFC keeps, and none is a combining mark.
constexpr char32_t kFirstMark = 0x300;

struct Range {
  char32_t first;
  char32_t last;
};
/// What became a mark, or a part of a composition, after Unicode 9. The library that Hugging Face's
/// tokenizers use does not know it: it stands where it is and joins nothing.
constexpr std::array<Range, 43> kNewer = {
    {{0x7fd, 0x7fd},     {0x897, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},
     {0xc3c, 0xc3c},     {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},
     {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},   {0xa82c, 0xa82c},   {0x10d24, 0x10d27},
     {0x10d69, 0x10d6d}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50},
     {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x11382, 0x113e2},
     {0x1145e, 0x1145e}, {0x11839, 0x1183a}, {0x11930, 0x11930}, {0x11938, 0x11938},
     {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34},
     {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45},
     {0x11d97, 0x11d97}, {0x11f41, 0x11f42}, {0x1611e, 0x1612f}, {0x16d63, 0x16d6a},
     {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae},
     {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}, {0x1e5ee, 0x1e5ef}}};

bool is_newer(char32_t code_point) {
  if (code_point < kNewer.front().first) return false;
  const auto after =
      std::upper_bound(kNewer.begin(), kNewer.end(), code_point,
                       [](char32_t c, const Range& range) { return c < range.first; });
  return after != kNewer.begin() && code_point <= std::prev(after)->last;
}

using Buffer = std::vector<utf8proc_int32_t>;

int combining_class(utf8proc_int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

/// Appends the full canonical decomposition of one code point.
void decompose(char32_t code_point, Buffer& out) {
  std::array<utf8proc_int32_t, 32> parts{};
  int boundary = 0;
  const auto count = utf8proc_decompose_char(
      static_cast<utf8proc_int32_t>(code_point), parts.data(), parts.size(),
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE), &boundary);
  out.insert(out.end(), parts.begin(), parts.begin() + std::clamp<std::ptrdiff_t>(count, 0, 32));
}

/// Sorts runs of marks by their classes. The library's own reordering swaps neighbours, which takes
/// n * n steps for a hostile run.
void reorder_marks(Buffer& buffer) {
  for (std::size_t begin = 0; begin < buffer.size();) {
    if (combining_class(buffer[begin]) == 0) {
      ++begin;
      continue;
    }
    std::size_t end = begin + 1;
    while (end < buffer.size() && combining_class(buffer[end]) != 0) ++end;
    std::stable_sort(buffer.begin() + static_cast<std::ptrdiff_t>(begin),
                     buffer.begin() + static_cast<std::ptrdiff_t>(end),
                     [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
}

/// Appends the composed form of what is in the buffer, and empties it.
void flush(Buffer& buffer, std::string& out) {
  reorder_marks(buffer);
  const auto length =
      utf8proc_normalize_utf32(buffer.data(), static_cast<utf8proc_ssize_t>(buffer.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  for (utf8proc_ssize_t i = 0; i < length; ++i) {
    append_utf8(static_cast<char32_t>(buffer[static_cast<std::size_t>(i)]), out);
  }
  buffer.clear();
}

void append_composed(std::string_view text, Buffer& buffer, std::string& out) {
  for (std::size_t position = 0; position < text.size();) {
    const char32_t code_point = next_code_point(text, position);
    if (!is_newer(code_point)) {
      decompose(code_point, buffer);
      continue;
    }
    flush(buffer, out);
    append_utf8(code_point, out);
  }
  flush(buffer, out);
}

/// Where the next code point from kFirstMark on begins; the end of the text if there is none.
std::size_t find_mark(std::string_view text, std::size_t position) {
  while (position < text.size() && static_cast<unsigned char>(text[position]) < 0xcc) ++position;
  return position;
}

}  // namespace

std::string nfc(std::string_view text) {
  static_assert(kFirstMark == 0xc << 6, "0xcc is its first byte in UTF-8");
  std::string out;
  out.reserve(text.size());
  Buffer buffer;
  std::size_t done = 0;
  for (std::size_t mark = find_mark(text, 0); mark < text.size(); mark = find_mark(text, mark)) {
    // From the character that a mark may join on, up to an ASCII character, which joins nothing.
    const std::size_t begin = mark == done ? mark : previous_position(text, mark);
    std::size_t end = mark;
    while (end < text.size() && static_cast<unsigned char>(text[end]) >= 0x80) ++end;
    out.append(text.substr(done, begin - done));
    append_composed(text.substr(begin, end - begin), buffer, out);
    done = mark = end;
  }
  out.append(text.substr(done));
  return out;
}

}  // namespace tinkex::tokenizers
