#include "torch_ext/local/safetensors_header.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "tinkex/base/text.h"
#include "torch_ext/local/strict_json.h"

namespace tinkex::torch_ext::local {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kLargestRank = 16;

constexpr std::pair<std::string_view, std::size_t> kElementSizes[] = {
    {"F64", 8},  {"I64", 8}, {"F32", 4}, {"I32", 4}, {"F16", 2},
    {"BF16", 2}, {"I16", 2}, {"I8", 1},  {"U8", 1},  {"BOOL", 1},
};

/// Size in bytes of a tensor, nullopt if it does not fit 63 bits.
std::optional<std::uint64_t> bytes_of(const std::vector<std::int64_t>& shape, std::size_t element) {
  auto bytes = static_cast<std::int64_t>(element);
  for (const std::int64_t extent : shape) {
    if (__builtin_mul_overflow(bytes, extent, &bytes)) return std::nullopt;
  }
  return static_cast<std::uint64_t>(bytes);
}

std::optional<std::int64_t> natural(const Json& json) {
  if (!json.is_number_unsigned()) return std::nullopt;
  const auto value = json.get<std::uint64_t>();
  if (value > static_cast<std::uint64_t>(INT64_MAX)) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

/// Checks a header and fills the tables.
class Reader {
 public:
  Reader(const std::filesystem::path& path, std::uint64_t start, std::uint64_t file_size)
      : path_(path), start_(start), file_size_(file_size) {}

  Result<SafetensorsHeader> read(std::string_view text) {
    if (text.empty() || text.front() != '{') return refuse("the header does not begin with '{'");
    const Json json = parse_strict_json(text);
    if (!json.is_object()) return refuse("the header is not a JSON object, or a key comes twice");
    for (const auto& [name, value] : json.items()) {
      const Status status = name == "__metadata__" ? take_metadata(value) : take_entry(name, value);
      if (!status) return status.error();
    }
    if (Status covered = check_cover(); !covered) return covered.error();
    return std::move(header_);
  }

 private:
  Error refuse(const std::string& what) const { return safetensors_error(path_, what); }

  Status take_metadata(const Json& json) {
    if (!json.is_object()) return refuse("__metadata__ is not an object");
    for (const auto& [key, value] : json.items()) {
      if (!value.is_string()) return refuse("__metadata__ has a value that is not a text");
      header_.metadata[key] = value.get<std::string>();
    }
    return ok_status();
  }

  Status take_entry(const std::string& name, const Json& json) {
    const std::string what = "tensor " + internal::quoted(name, 200) + ": ";
    if (!json.is_object() || json.size() != 3 || !json.contains("dtype") ||
        !json.contains("shape") || !json.contains("data_offsets")) {
      return refuse(what + "expected dtype, shape and data_offsets");
    }
    SafetensorsEntry entry;
    if (!json["dtype"].is_string()) return refuse(what + "dtype is not a text");
    entry.dtype = json["dtype"].get<std::string>();
    if (safetensors_element_size(entry.dtype) == 0) {
      return refuse(what + "unknown dtype " + internal::quoted(entry.dtype));
    }
    if (!json["shape"].is_array() || json["shape"].size() > kLargestRank) {
      return refuse(what + "shape is not a list of at most 16 numbers");
    }
    for (const Json& extent : json["shape"]) {
      const auto value = natural(extent);
      if (!value) return refuse(what + "shape has an entry that is not a natural number");
      entry.shape.push_back(*value);
    }
    if (Status placed = take_range(what, json["data_offsets"], entry); !placed) return placed;
    header_.entries.emplace(name, std::move(entry));
    return ok_status();
  }

  Status take_range(const std::string& what, const Json& offsets, SafetensorsEntry& entry) const {
    if (!offsets.is_array() || offsets.size() != 2) return refuse(what + "bad data_offsets");
    const auto begin = natural(offsets[0]);
    const auto end = natural(offsets[1]);
    if (!begin || !end || *begin > *end || static_cast<std::uint64_t>(*end) > file_size_ - start_) {
      return refuse(what + "data_offsets lie outside the file");
    }
    entry.begin = start_ + static_cast<std::uint64_t>(*begin);
    entry.size = static_cast<std::uint64_t>(*end - *begin);
    if (bytes_of(entry.shape, safetensors_element_size(entry.dtype)) != entry.size) {
      return refuse(what + "shape and dtype do not make " + std::to_string(entry.size) + " bytes");
    }
    return ok_status();
  }

  Status check_cover() const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
    for (const auto& [name, entry] : header_.entries) {
      ranges.emplace_back(entry.begin, entry.begin + entry.size);
    }
    std::sort(ranges.begin(), ranges.end());
    std::uint64_t at = start_;
    for (const auto& [begin, end] : ranges) {
      if (begin != at) return refuse("the tensors overlap or leave a hole");
      at = end;
    }
    if (at != file_size_) return refuse("there are bytes that belong to no tensor");
    return ok_status();
  }

  const std::filesystem::path& path_;
  std::uint64_t start_;
  std::uint64_t file_size_;
  SafetensorsHeader header_;
};

}  // namespace

std::size_t safetensors_element_size(std::string_view dtype) {
  for (const auto& [name, size] : kElementSizes) {
    if (name == dtype) return size;
  }
  return 0;
}

Error safetensors_error(const std::filesystem::path& path, const std::string& what) {
  return Error(ErrorCode::kIo, "not a valid safetensors file: '" + path.string() + "': " + what);
}

Result<SafetensorsHeader> SafetensorsHeader::parse(const std::filesystem::path& path,
                                                   std::string_view text, std::uint64_t file_size) {
  const std::uint64_t start = kLengthBytes + text.size();
  if (text.size() > kLargest || file_size < start) {
    return safetensors_error(path, "it ends before its header does");
  }
  return Reader(path, start, file_size).read(text);
}

}  // namespace tinkex::torch_ext::local
