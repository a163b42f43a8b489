#include "torch_ext/local/gguf.h"

#include <optional>
#include <type_traits>

#include "tinkex/base/text.h"
#include "torch_ext/local/byte_cursor.h"
#include "torch_ext/local/mapped_file.h"

namespace tinkex::torch_ext::local {
namespace {

/// More numbers or texts than any vocabulary has.
constexpr std::uint64_t kMostElements = std::uint64_t{1} << 24;

template <class Stored, class Number>
bool take_as(ByteCursor& cursor, Number& out) {
  Stored stored{};
  if (!cursor.number(stored)) return false;
  out = static_cast<Number>(stored);  // NOLINT(bugprone-signed-char-misuse): it is a number
  return true;
}

/// Takes an integer of that kind; false for other kinds and for what does not fit.
bool take_number(ByteCursor& cursor, GgufKind kind, std::int64_t& out) {
  switch (kind) {
    case GgufKind::kUint8: return take_as<std::uint8_t>(cursor, out);
    case GgufKind::kInt8: return take_as<std::int8_t>(cursor, out);
    case GgufKind::kUint16: return take_as<std::uint16_t>(cursor, out);
    case GgufKind::kInt16: return take_as<std::int16_t>(cursor, out);
    case GgufKind::kUint32: return take_as<std::uint32_t>(cursor, out);
    case GgufKind::kInt32: return take_as<std::int32_t>(cursor, out);
    case GgufKind::kUint64: return take_as<std::uint64_t>(cursor, out) && out >= 0;
    case GgufKind::kInt64: return take_as<std::int64_t>(cursor, out);
    default: return false;
  }
}

/// The same for the float types.
bool take_number(ByteCursor& cursor, GgufKind kind, double& out) {
  if (kind == GgufKind::kFloat32) return take_as<float>(cursor, out);
  return kind == GgufKind::kFloat64 && cursor.number(out);
}

template <class Number>
std::optional<std::vector<Number>> take_all(const GgufValue& value) {
  if (value.kind != GgufKind::kArray) return std::nullopt;
  ByteCursor cursor(value.bytes);
  std::vector<Number> all;
  all.reserve(value.count);
  for (std::uint64_t i = 0; i < value.count; ++i) {
    if (!take_number(cursor, value.element, all.emplace_back())) return std::nullopt;
  }
  return all;
}

}  // namespace

Result<std::shared_ptr<const GgufFile>> GgufFile::open(const std::filesystem::path& path) {
  Result<std::shared_ptr<const MappedFile>> file = MappedFile::open(path);
  if (!file) return file.error();
  return parse(path, (*file)->bytes(), *file);
}

Result<std::shared_ptr<const GgufFile>> GgufFile::parse(std::filesystem::path path,
                                                        std::span<const std::byte> bytes,
                                                        std::shared_ptr<const void> owner) {
  Result<GgufTables> tables = parse_gguf(path, bytes);
  if (!tables) return tables.error();
  return std::shared_ptr<const GgufFile>(
      new GgufFile(std::move(path), std::move(*tables), std::move(owner)));
}

std::vector<std::string> GgufFile::keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : tables_.metadata) keys.push_back(key);
  return keys;
}

Error GgufFile::error(std::string_view what) const {
  return Error(ErrorCode::kIo, "GGUF file '" + path_.string() + "': " + std::string(what));
}

Result<const GgufValue*> GgufFile::value(std::string_view key) const {
  const auto found = tables_.metadata.find(key);
  if (found != tables_.metadata.end()) return &found->second;
  return error("metadata " + internal::quoted(key) + " is missing");
}

/// A value that is short if it is an array.
Result<const GgufValue*> GgufFile::array(std::string_view key) const {
  Result<const GgufValue*> found = value(key);
  if (!found || (*found)->count <= kMostElements) return found;
  return error("metadata " + internal::quoted(key) + " has " + std::to_string((*found)->count) +
               " elements, expected at most " + std::to_string(kMostElements));
}

Error GgufFile::wrong_kind(std::string_view key, const GgufValue& value,
                           std::string_view expected) const {
  std::string kind = name_of(value.kind);
  if (value.kind == GgufKind::kArray) kind += std::string(" of ") + name_of(value.element);
  return error("metadata " + internal::quoted(key) + " has type " + kind + ", expected " +
               std::string(expected));
}

Result<bool> GgufFile::flag(std::string_view key) const {
  const Result<const GgufValue*> found = value(key);
  if (!found) return found.error();
  std::uint8_t byte = 0;
  if ((*found)->kind == GgufKind::kBool && ByteCursor((*found)->bytes).number(byte)) {
    return byte != 0;
  }
  return wrong_kind(key, **found, "bool");
}

Result<std::int64_t> GgufFile::integer(std::string_view key) const {
  const Result<const GgufValue*> found = value(key);
  if (!found) return found.error();
  ByteCursor cursor((*found)->bytes);
  std::int64_t number = 0;
  if (take_number(cursor, (*found)->kind, number)) return number;
  return wrong_kind(key, **found, "an integer below 2^63");
}

Result<double> GgufFile::number(std::string_view key) const {
  const Result<const GgufValue*> found = value(key);
  if (!found) return found.error();
  ByteCursor cursor((*found)->bytes);
  double number = 0;
  if (take_number(cursor, (*found)->kind, number)) return number;
  return wrong_kind(key, **found, "float32 or float64");
}

Result<std::string_view> GgufFile::text(std::string_view key) const {
  const Result<const GgufValue*> found = value(key);
  if (!found) return found.error();
  if ((*found)->kind != GgufKind::kText) return wrong_kind(key, **found, "string");
  const std::span<const std::byte> bytes = (*found)->bytes;
  return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<std::vector<std::int64_t>> GgufFile::integers(std::string_view key) const {
  const Result<const GgufValue*> found = array(key);
  if (!found) return found.error();
  std::optional<std::vector<std::int64_t>> all = take_all<std::int64_t>(**found);
  if (all) return std::move(*all);
  return wrong_kind(key, **found, "array of integers below 2^63");
}

Result<std::vector<double>> GgufFile::numbers(std::string_view key) const {
  const Result<const GgufValue*> found = array(key);
  if (!found) return found.error();
  std::optional<std::vector<double>> all = take_all<double>(**found);
  if (all) return std::move(*all);
  return wrong_kind(key, **found, "array of float32 or float64");
}

Result<std::vector<std::string_view>> GgufFile::texts(std::string_view key) const {
  const Result<const GgufValue*> found = array(key);
  if (!found) return found.error();
  if ((*found)->kind != GgufKind::kArray || (*found)->element != GgufKind::kText) {
    return wrong_kind(key, **found, "array of string");
  }
  ByteCursor cursor((*found)->bytes);
  std::vector<std::string_view> all((*found)->count);
  for (std::string_view& each : all) {
    if (!cursor.text(each)) return error("metadata " + internal::quoted(key) + " was cut off");
  }
  return all;
}

const GgufTensor* GgufFile::find(std::string_view name) const {
  const auto found = tables_.tensor_index.find(name);
  return found == tables_.tensor_index.end() ? nullptr : &tables_.tensors[found->second];
}

Status GgufFile::widen(const GgufTensor& tensor, std::span<float> out) const {
  const std::string what = "tensor " + internal::quoted(tensor.name);
  if (tensor.type->widen == nullptr) {
    return error(what + " has type " + tensor.type->name + ", which cannot be read; expected " +
                 widened_ggml_types());
  }
  if (out.size() != static_cast<std::size_t>(tensor.elements())) {
    return error(what + " has " + std::to_string(tensor.elements()) + " elements, not " +
                 std::to_string(out.size()));
  }
  tensor.type->widen(tensor.bytes.data(),
                     tensor.bytes.size() / static_cast<std::size_t>(tensor.type->block_bytes),
                     out.data());
  return ok_status();
}

}  // namespace tinkex::torch_ext::local
