#include "torch_ext/local/gguf_parser.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

#include "tinkex/base/text.h"
#include "torch_ext/local/byte_cursor.h"

namespace tinkex::torch_ext::local {
namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr std::uint32_t kOldestVersion = 2;
constexpr std::uint32_t kNewestVersion = 3;
constexpr char kAlignmentKey[] = "general.alignment";
constexpr std::uint64_t kDefaultAlignment = 32;
constexpr std::uint64_t kLargestAlignment = 1U << 20;
constexpr std::uint32_t kMostDimensions = 4;
constexpr int kDeepestArray = 4;
/// The fewest bytes that an entry of the metadata and one of the table of tensors can take.
constexpr std::uint64_t kSmallestEntry = 8 + 4 + 1;
constexpr std::uint64_t kSmallestTensor = 8 + 4 + 4 + 8;

/// Bytes of a value; 0 for those without a fixed size.
std::size_t size_of(GgufKind kind) {
  switch (kind) {
    case GgufKind::kUint8:
    case GgufKind::kInt8:
    case GgufKind::kBool: return 1;
    case GgufKind::kUint16:
    case GgufKind::kInt16: return 2;
    case GgufKind::kUint32:
    case GgufKind::kInt32:
    case GgufKind::kFloat32: return 4;
    case GgufKind::kUint64:
    case GgufKind::kInt64:
    case GgufKind::kFloat64: return 8;
    default: return 0;
  }
}

std::optional<std::uint64_t> unsigned_value(const GgufValue& value) {
  ByteCursor cursor(value.bytes);
  std::uint32_t small = 0;
  std::uint64_t large = 0;
  if (value.kind == GgufKind::kUint32 && cursor.number(small)) return small;
  if (value.kind == GgufKind::kUint64 && cursor.number(large)) return large;
  return std::nullopt;
}

class Parser {
 public:
  Parser(const std::filesystem::path& path, std::span<const std::byte> bytes,
         std::uint64_t file_size)
      : path_(path), file_size_(file_size), bytes_(bytes), cursor_(bytes) {}

  Result<std::optional<GgufTables>> parse() {
    Status status = take_header();
    for (std::uint64_t i = 0; status && i < metadata_count_; ++i) status = take_entry();
    if (status) status = take_alignment();
    for (std::uint64_t i = 0; status && i < tensor_count_; ++i) status = take_tensor();
    if (status) status = locate_tensors();
    if (status) status = check_overlap();
    if (!status && goes_on_) return std::optional<GgufTables>();
    if (!status) return status.error();
    return std::optional(std::move(tables_));
  }

 private:
  Error refuse(const std::string& what) const {
    return Error(ErrorCode::kIo, "not a valid GGUF file: '" + path_.string() + "': " + what);
  }
  /// Where the bytes end; only if the file does, too, is it to blame.
  Error ends_within(const std::string& what) {
    goes_on_ = bytes_.size() < file_size_;
    return refuse("it ends at byte " + std::to_string(bytes_.size()) + ", within " + what);
  }

  Status take_header() {
    std::uint32_t version = 0;
    if (bytes_.size() < kMagic.size() ||
        !std::equal(kMagic.begin(), kMagic.end(), bytes_.begin(),
                    [](char c, std::byte b) { return std::byte(c) == b; })) {
      return refuse("it does not begin with 'GGUF'");
    }
    if (!cursor_.skip(kMagic.size()) || !cursor_.number(version)) return ends_within("the header");
    if ((version & 0xFFFFU) == 0) return refuse("it is big-endian, or has no version");
    if (version < kOldestVersion || version > kNewestVersion) {
      return refuse("its version is " + std::to_string(version) + ", expected 2 or 3");
    }
    if (!cursor_.number(tensor_count_) || !cursor_.number(metadata_count_)) {
      return ends_within("the header");
    }
    const std::uint64_t left = file_size_ - cursor_.position();
    if (metadata_count_ > left / kSmallestEntry || tensor_count_ > left / kSmallestTensor) {
      return refuse("it is too short for " + std::to_string(metadata_count_) +
                    " entries of metadata and " + std::to_string(tensor_count_) + " tensors");
    }
    return ok_status();
  }

  Status take_entry() {
    std::string_view key;
    if (!cursor_.text(key)) return ends_within("a key of the metadata");
    const std::string what = "metadata " + internal::quoted(key);
    std::uint32_t kind = 0;
    if (!cursor_.number(kind)) return ends_within(what);
    GgufValue value;
    value.kind = static_cast<GgufKind>(kind);
    Status status = take_value(what, value);
    if (!status) return status;
    if (!tables_.metadata.emplace(key, value).second) return refuse(what + " comes twice");
    return ok_status();
  }

  Status take_value(const std::string& what, GgufValue& value) {
    if (value.kind == GgufKind::kArray) return take_array(what, value, 1);
    const std::size_t start = cursor_.position();
    Status status = skip_elements(what, value.kind, 1, 0);
    if (!status) return status;
    value.bytes = cursor_.since(start);
    if (value.kind == GgufKind::kText) value.bytes = value.bytes.subspan(sizeof(std::uint64_t));
    return ok_status();
  }

  Status take_array(const std::string& what, GgufValue& value, int depth) {
    if (depth > kDeepestArray) {
      return refuse(what + ": arrays lie more than " + std::to_string(kDeepestArray) + " deep");
    }
    std::uint32_t element = 0;
    if (!cursor_.number(element) || !cursor_.number(value.count)) return ends_within(what);
    value.element = static_cast<GgufKind>(element);
    const std::size_t start = cursor_.position();
    Status status = skip_elements(what, value.element, value.count, depth);
    if (status) value.bytes = cursor_.since(start);
    return status;
  }

  /// Passes values that follow each other, `depth` arrays deep.
  Status skip_elements(const std::string& what, GgufKind kind, std::uint64_t count, int depth) {
    if (name_of(kind) == nullptr) {
      return refuse(what + " has the unknown type " +
                    std::to_string(static_cast<std::uint32_t>(kind)));
    }
    if (const std::size_t size = size_of(kind); size > 0) {
      const std::size_t start = cursor_.position();
      if (count > cursor_.left() / size || !cursor_.skip(count * size)) return ends_within(what);
      const auto passed = cursor_.since(start);
      if (kind == GgufKind::kBool &&
          std::any_of(passed.begin(), passed.end(), [](std::byte b) { return b > std::byte{1}; })) {
        return refuse(what + " has a bool that is neither 0 nor 1");
      }
      return ok_status();
    }
    for (; count > 0; --count) {
      if (kind == GgufKind::kText) {
        std::string_view ignored;
        if (!cursor_.text(ignored)) return ends_within(what);
        continue;
      }
      GgufValue inner;
      Status status = take_array(what, inner, depth + 1);
      if (!status) return status;
    }
    return ok_status();
  }

  Status take_alignment() {
    const auto found = tables_.metadata.find(kAlignmentKey);
    if (found == tables_.metadata.end()) return ok_status();
    alignment_ = unsigned_value(found->second).value_or(0);
    if (std::has_single_bit(alignment_) && alignment_ <= kLargestAlignment) return ok_status();
    return refuse("metadata 'general.alignment' is not a power of two up to " +
                  std::to_string(kLargestAlignment) + " of type uint32 or uint64");
  }

  Status take_tensor() {
    std::string_view name;
    if (!cursor_.text(name)) return ends_within("a tensor's name");
    const std::string what = named(name);
    GgufTensor tensor;
    tensor.name = name;
    Status status = take_shape(what, tensor);
    if (!status) return status;
    std::uint32_t type = 0;
    std::uint64_t offset = 0;
    if (!cursor_.number(type) || !cursor_.number(offset)) return ends_within(what);
    tensor.type = find_ggml_type(type);
    if (tensor.type == nullptr) {
      return refuse(what + " has the unknown type " + std::to_string(type));
    }
    const std::int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
    if (row % tensor.type->block_elements != 0) {
      return refuse(what + " of type " + tensor.type->name + " has rows of " + std::to_string(row) +
                    " elements, which are no whole blocks of " +
                    std::to_string(tensor.type->block_elements));
    }
    if (offset % alignment_ != 0) {
      return refuse(what + " begins at offset " + std::to_string(offset) +
                    ", which is no multiple of " + std::to_string(alignment_));
    }
    if (!tables_.tensor_index.emplace(name, tables_.tensors.size()).second) {
      return refuse(what + " comes twice");
    }
    tables_.tensors.push_back(std::move(tensor));
    offsets_.push_back(offset);
    return ok_status();
  }

  Status take_shape(const std::string& what, GgufTensor& tensor) {
    std::uint32_t dimensions = 0;
    if (!cursor_.number(dimensions)) return ends_within(what);
    if (dimensions > kMostDimensions) {
      return refuse(what + " has " + std::to_string(dimensions) + " dimensions, expected at most " +
                    std::to_string(kMostDimensions));
    }
    std::int64_t elements = 1;
    for (; dimensions > 0; --dimensions) {
      std::uint64_t extent = 0;
      if (!cursor_.number(extent)) return ends_within(what);
      if (extent == 0 || __builtin_mul_overflow(elements, extent, &elements)) {
        return refuse(what + " has a dimension of " + std::to_string(extent) + " elements");
      }
      // The fastest dimension comes first in the file.
      tensor.shape.insert(tensor.shape.begin(), static_cast<std::int64_t>(extent));
    }
    return ok_status();
  }

  /// Sets where the tensors lie, once it is known where the tables end.
  Status locate_tensors() {
    if (tables_.tensors.empty()) return ok_status();
    const std::uint64_t start = (cursor_.position() + alignment_ - 1) / alignment_ * alignment_;
    for (std::size_t i = 0; i < offsets_.size(); ++i) {
      GgufTensor& tensor = tables_.tensors[i];
      const std::int64_t blocks = tensor.elements() / tensor.type->block_elements;
      std::uint64_t size = 0;
      const bool is_huge = __builtin_mul_overflow(blocks, tensor.type->block_bytes, &size);
      const std::uint64_t available = file_size_ > start ? file_size_ - start : 0;
      if (is_huge || offsets_[i] > available || size > available - offsets_[i]) {
        return refuse(named(tensor.name) + " of type " + tensor.type->name + " with " +
                      std::to_string(tensor.elements()) + " elements at offset " +
                      std::to_string(offsets_[i]) + " reaches beyond the file, which has " +
                      std::to_string(available) + " bytes of tensors");
      }
      tensor.begin = start + offsets_[i];
      tensor.size = size;
    }
    return ok_status();
  }

  Status check_overlap() const {
    std::vector<const GgufTensor*> sorted;
    for (const GgufTensor& tensor : tables_.tensors) sorted.push_back(&tensor);
    std::sort(sorted.begin(), sorted.end(),
              [](const GgufTensor* a, const GgufTensor* b) { return a->begin < b->begin; });
    for (std::size_t i = 1; i < sorted.size(); ++i) {
      if (sorted[i - 1]->begin + sorted[i - 1]->size <= sorted[i]->begin) continue;
      return refuse(named(sorted[i - 1]->name) + " and " + named(sorted[i]->name) + " overlap");
    }
    return ok_status();
  }

  static std::string named(std::string_view tensor) { return "tensor " + internal::quoted(tensor); }

  const std::filesystem::path& path_;
  const std::uint64_t file_size_;
  std::span<const std::byte> bytes_;
  bool goes_on_ = false;  ///< The tables, behind the bytes.
  ByteCursor cursor_;
  std::uint64_t tensor_count_ = 0;
  std::uint64_t metadata_count_ = 0;
  std::uint64_t alignment_ = kDefaultAlignment;
  GgufTables tables_;
  std::vector<std::uint64_t> offsets_;  ///< Of each tensor, from the first one's place.
};

}  // namespace

const char* name_of(GgufKind kind) {
  static constexpr const char* kNames[] = {"uint8",  "int8",    "uint16", "int16",  "uint32",
                                           "int32",  "float32", "bool",   "string", "array",
                                           "uint64", "int64",   "float64"};
  const auto number = static_cast<std::size_t>(kind);
  return number < std::size(kNames) ? kNames[number] : nullptr;
}

std::int64_t GgufTensor::elements() const {
  std::int64_t product = 1;
  for (const std::int64_t extent : shape) product *= extent;
  return product;
}

Result<std::optional<GgufTables>> parse_gguf(const std::filesystem::path& path,
                                             std::span<const std::byte> bytes,
                                             std::uint64_t file_size) {
  return Parser(path, bytes, file_size).parse();
}

}  // namespace tinkex::torch_ext::local
