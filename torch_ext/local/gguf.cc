#include "torch_ext/local/gguf.h"

#include <algorithm>
#include <optional>
#include <type_traits>

#include "tinkex/base/text.h"
#include "torch_ext/local/byte_cursor.h"
#include "torch_ext/local/io_error.h"
#include "torch_ext/local/readable_file.h"

namespace tinkex::torch_ext::local {
namespace {

/// More numbers or texts than any vocabulary has.
constexpr std::uint64_t kMostElements = std::uint64_t{1} << 24;

/// Of the tables, which end at a place that only they tell.
constexpr std::uint64_t kFirstRead = std::uint64_t{4} << 20;
/// Several times what the largest vocabularies take. A file may have holes, and so be larger than
/// memory.
constexpr std::uint64_t kLargestTables = std::uint64_t{128} << 20;

/// What is read of a tensor at once: little enough to stay in a core's cache until it is widened.
constexpr std::size_t kReadAtOnce = std::size_t{256} << 10;

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
  Result<ReadableFile> opened = ReadableFile::open(path);
  if (!opened) return opened.error();
  const auto file = std::make_shared<const ReadableFile>(*std::move(opened));
  for (std::uint64_t most = kFirstRead; most <= kLargestTables; most *= 2) {
    const auto head = std::make_shared<std::vector<std::byte>>(std::min(most, file->size()));
    if (const Status read = file->read(0, *head); !read) return read.error();
    Result<std::optional<GgufTables>> tables = parse_gguf(path, *head, file->size());
    if (!tables) return tables.error();
    if (!tables->has_value()) continue;
    return std::shared_ptr<const GgufFile>(new GgufFile(
        path, **std::move(tables), head, [file](std::uint64_t offset, std::span<std::byte> out) {
          return file->read(offset, out);
        }));
  }
  return file_error(path, "its tables take more than " + std::to_string(kLargestTables >> 20) +
                              " MiB, which no model's do; is it a GGUF file?");
}

Result<std::shared_ptr<const GgufFile>> GgufFile::parse(std::filesystem::path path,
                                                        std::span<const std::byte> bytes,
                                                        std::shared_ptr<const void> owner) {
  Result<std::optional<GgufTables>> tables = parse_gguf(path, bytes, bytes.size());
  if (!tables) return tables.error();
  const auto copy = [bytes](std::uint64_t offset, std::span<std::byte> out) {
    const auto part = bytes.subspan(static_cast<std::size_t>(offset), out.size());
    std::copy(part.begin(), part.end(), out.begin());
    return ok_status();
  };
  return std::shared_ptr<const GgufFile>(
      new GgufFile(std::move(path), **std::move(tables), std::move(owner), copy));
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
  const auto block = static_cast<std::size_t>(tensor.type->block_bytes);
  const auto block_elements = static_cast<std::size_t>(tensor.type->block_elements);
  std::vector<std::byte> buffer(std::min<std::uint64_t>(tensor.size, kReadAtOnce / block * block));
  for (std::uint64_t from = 0; from < tensor.size; from += buffer.size()) {
    const std::span part =
        std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), tensor.size - from));
    if (const Status status = read(tensor, from, part); !status) return status;
    tensor.type->widen(part.data(), part.size() / block,
                       out.data() + from / block * block_elements);
  }
  return ok_status();
}

Status GgufFile::read(const GgufTensor& tensor, std::uint64_t from,
                      std::span<std::byte> out) const {
  Status status = source_(tensor.begin + from, out);
  if (status) return status;
  return Error(status.error()).with_context("tensor " + internal::quoted(tensor.name));
}

}  // namespace tinkex::torch_ext::local
