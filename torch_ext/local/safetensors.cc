#include "torch_ext/local/safetensors.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>

namespace tinkex::torch_ext::local {
namespace {

using Json = nlohmann::json;

// Bytes are copied as they are, and the format is little-endian.
static_assert(std::endian::native == std::endian::little);

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kLargestHeader = 100'000'000;
constexpr std::size_t kLargestRank = 16;

struct TypeName {
  const char* name;
  at::ScalarType type;
};
constexpr TypeName kTypes[] = {
    {"F64", at::ScalarType::Double}, {"I64", at::ScalarType::Long},
    {"F32", at::ScalarType::Float},  {"I32", at::ScalarType::Int},
    {"F16", at::ScalarType::Half},   {"BF16", at::ScalarType::BFloat16},
    {"I16", at::ScalarType::Short},  {"I8", at::ScalarType::Char},
    {"U8", at::ScalarType::Byte},    {"BOOL", at::ScalarType::Bool},
};

std::optional<at::ScalarType> type_of(const std::string& name) {
  for (const TypeName& each : kTypes) {
    if (name == each.name) return each.type;
  }
  return std::nullopt;
}

const char* name_of(at::ScalarType type) {
  for (const TypeName& each : kTypes) {
    if (type == each.type) return each.name;
  }
  return nullptr;
}

/// Parses JSON and refuses what nlohmann would silently accept: a key given twice.
Json parse_strictly(const std::string& text) {
  std::vector<std::set<std::string>> keys;
  bool twice = false;
  const auto watch = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      twice = !keys.back().insert(value.get<std::string>()).second || twice;
    }
    return true;
  };
  Json json = Json::parse(text, watch, /*allow_exceptions=*/false);
  return twice ? Json(Json::value_t::discarded) : json;
}

/// Size in bytes of a tensor, nullopt if it does not fit 63 bits.
std::optional<std::uint64_t> bytes_of(const std::vector<std::int64_t>& shape, std::size_t element) {
  std::int64_t bytes = static_cast<std::int64_t>(element);
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

}  // namespace

/// Checks a header and fills the table of a SafetensorsFile.
class SafetensorsHeader {
 public:
  SafetensorsHeader(SafetensorsFile& file, std::uint64_t buffer_start)
      : file_(file), start_(buffer_start) {}

  Status parse(const std::string& text) {
    if (text.empty() || text.front() != '{') return refuse("the header does not begin with '{'");
    const Json json = parse_strictly(text);
    if (!json.is_object()) return refuse("the header is not a JSON object, or a key comes twice");
    for (const auto& [name, value] : json.items()) {
      Status status = name == "__metadata__" ? take_metadata(value) : take_entry(name, value);
      if (!status) return status;
    }
    return check_cover();
  }

 private:
  Status refuse(const std::string& what) const {
    return Error(ErrorCode::kIo,
                 "not a valid safetensors file: '" + file_.file_.path().string() + "': " + what);
  }

  Status take_metadata(const Json& json) {
    if (!json.is_object()) return refuse("__metadata__ is not an object");
    for (const auto& [key, value] : json.items()) {
      if (!value.is_string()) return refuse("__metadata__ has a value that is not a text");
      file_.metadata_[key] = value.get<std::string>();
    }
    return ok_status();
  }

  Status take_entry(const std::string& name, const Json& json) {
    const std::string what = "tensor '" + name + "': ";
    if (!json.is_object() || json.size() != 3 || !json.contains("dtype") ||
        !json.contains("shape") || !json.contains("data_offsets")) {
      return refuse(what + "expected dtype, shape and data_offsets");
    }
    if (!json["dtype"].is_string()) return refuse(what + "dtype is not a text");
    const auto type = type_of(json["dtype"].get<std::string>());
    if (!type) return refuse(what + "unknown dtype " + json["dtype"].get<std::string>());
    std::vector<std::int64_t> shape;
    if (!json["shape"].is_array() || json["shape"].size() > kLargestRank) {
      return refuse(what + "shape is not a list of at most 16 numbers");
    }
    for (const Json& extent : json["shape"]) {
      const auto value = natural(extent);
      if (!value) return refuse(what + "shape has an entry that is not a natural number");
      shape.push_back(*value);
    }
    return take_range(what, name, *type, std::move(shape), json["data_offsets"]);
  }

  Status take_range(const std::string& what, const std::string& name, at::ScalarType type,
                    std::vector<std::int64_t> shape, const Json& offsets) {
    if (!offsets.is_array() || offsets.size() != 2) return refuse(what + "bad data_offsets");
    const auto begin = natural(offsets[0]);
    const auto end = natural(offsets[1]);
    const std::uint64_t available = file_.file_.size() - start_;
    if (!begin || !end || *begin > *end || static_cast<std::uint64_t>(*end) > available) {
      return refuse(what + "data_offsets lie outside the file");
    }
    const auto size = static_cast<std::uint64_t>(*end - *begin);
    if (bytes_of(shape, c10::elementSize(type)) != size) {
      return refuse(what + "shape and dtype do not make " + std::to_string(size) + " bytes");
    }
    file_.entries_[name] = {type, std::move(shape), start_ + static_cast<std::uint64_t>(*begin),
                            size};
    return ok_status();
  }

  /// The ranges must cover the buffer without overlap and without hole.
  Status check_cover() const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
    for (const auto& [name, entry] : file_.entries_) {
      ranges.emplace_back(entry.begin, entry.begin + entry.size);
    }
    std::sort(ranges.begin(), ranges.end());
    std::uint64_t at = start_;
    for (const auto& [begin, end] : ranges) {
      if (begin != at) return refuse("the tensors overlap or leave a hole");
      at = end;
    }
    if (at != file_.file_.size()) return refuse("there are bytes that belong to no tensor");
    return ok_status();
  }

  SafetensorsFile& file_;
  std::uint64_t start_;
};

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  Result<ReadableFile> opened = ReadableFile::open(path);
  if (!opened) return opened.error();
  SafetensorsFile file(std::move(*opened));
  std::uint64_t length = 0;
  const bool has_length = file.file_.size() >= kLengthBytes;
  if (has_length) {
    const Status status = file.file_.read(0, std::as_writable_bytes(std::span(&length, 1)));
    if (!status) return status.error();
  }
  if (!has_length || length > kLargestHeader || length > file.file_.size() - kLengthBytes) {
    return Error(ErrorCode::kIo, "not a valid safetensors file: '" + path.string() +
                                     "': it ends before its header does");
  }
  std::string text(static_cast<std::size_t>(length), '\0');
  const Status read = file.file_.read(kLengthBytes, std::as_writable_bytes(std::span(text)));
  if (!read) return read.error();
  const Status parsed = SafetensorsHeader(file, kLengthBytes + length).parse(text);
  if (!parsed) return parsed.error();
  return file;
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

Result<at::Tensor> SafetensorsFile::read(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    return Error(ErrorCode::kIo,
                 "tensor '" + name + "' is missing in '" + file_.path().string() + "'");
  }
  const Entry& entry = found->second;
  at::Tensor tensor = at::empty(entry.shape, entry.dtype);
  auto* out = static_cast<std::byte*>(tensor.mutable_data_ptr());
  const Status status = file_.read(entry.begin, {out, static_cast<std::size_t>(entry.size)});
  if (!status) return status.error();
  return tensor;
}

Status write_safetensors(const std::filesystem::path& path,
                         const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                         std::map<std::string, std::string> metadata) {
  std::vector<std::pair<std::string, at::Tensor>> sorted;
  sorted.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) sorted.emplace_back(name, tensor.contiguous());
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    const auto key = [](const auto& x) {
      return std::pair(-static_cast<std::int64_t>(x.second.element_size()), x.first);
    };
    return key(a) < key(b);
  });
  metadata["format"] = "pt";
  Json header = Json::object();
  header["__metadata__"] = metadata;
  std::vector<std::span<const std::byte>> parts(2);
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : sorted) {
    const char* dtype = name_of(tensor.scalar_type());
    if (dtype == nullptr) {
      return Error(ErrorCode::kInternal, "tensor '" + name + "' has a type that is not stored");
    }
    const std::uint64_t end = offset + tensor.nbytes();
    header[name] = {
        {"dtype", dtype}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, end}}};
    parts.emplace_back(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes());
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();
  parts[0] = std::as_bytes(std::span(&length, 1));
  parts[1] = std::as_bytes(std::span(text));
  return write_file(path, parts);
}

}  // namespace tinkex::torch_ext::local
