#include "torch_ext/local/safetensors.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>

namespace tinkex::torch_ext::local {
namespace {

using Json = nlohmann::json;

// Bytes are copied as they are, and the format is little-endian.
static_assert(std::endian::native == std::endian::little);

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

/// Of a type that the header knows.
at::ScalarType type_of(const std::string& name) {
  for (const TypeName& each : kTypes) {
    if (name == each.name) return each.type;
  }
  return at::ScalarType::Undefined;
}

const char* name_of(at::ScalarType type) {
  for (const TypeName& each : kTypes) {
    if (type == each.type) return each.name;
  }
  return nullptr;
}

}  // namespace

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  Result<ReadableFile> opened = ReadableFile::open(path);
  if (!opened) return opened.error();
  SafetensorsFile file(std::move(*opened));
  const std::uint64_t size = file.file_.size();
  std::uint64_t length = 0;
  const bool has_length = size >= SafetensorsHeader::kLengthBytes;
  if (has_length) {
    const Status status = file.file_.read(0, std::as_writable_bytes(std::span(&length, 1)));
    if (!status) return status.error();
  }
  if (has_length && std::memcmp(&length, "version ", sizeof(length)) == 0) {
    return safetensors_error(path,
                             "it begins as a pointer of Git LFS does; fetch the file itself, "
                             "by git lfs pull");
  }
  if (!has_length || length > SafetensorsHeader::kLargest ||
      length > size - SafetensorsHeader::kLengthBytes) {
    return safetensors_error(path, "it ends before its header does");
  }
  std::string text(static_cast<std::size_t>(length), '\0');
  const Status read =
      file.file_.read(SafetensorsHeader::kLengthBytes, std::as_writable_bytes(std::span(text)));
  if (!read) return read.error();
  Result<SafetensorsHeader> header = SafetensorsHeader::parse(path, text, size);
  if (!header) return header.error();
  file.header_ = *std::move(header);
  return file;
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : header_.entries) names.push_back(name);
  return names;
}

const SafetensorsEntry* SafetensorsFile::find(const std::string& name) const {
  const auto found = header_.entries.find(name);
  return found == header_.entries.end() ? nullptr : &found->second;
}

Result<at::Tensor> SafetensorsFile::read(const std::string& name) const {
  const SafetensorsEntry* entry = find(name);
  if (entry == nullptr) {
    return Error(ErrorCode::kIo,
                 "tensor '" + name + "' is missing in '" + file_.path().string() + "'");
  }
  at::Tensor tensor = at::empty(entry->shape, type_of(entry->dtype));
  auto* out = static_cast<std::byte*>(tensor.mutable_data_ptr());
  const Status status = file_.read(entry->begin, {out, static_cast<std::size_t>(entry->size)});
  if (!status) return Error(status.error()).with_context("tensor '" + name + "'");
  return tensor;
}

Result<SafetensorsWriter> SafetensorsWriter::create(const std::filesystem::path& path,
                                                    std::vector<Entry> entries,
                                                    std::map<std::string, std::string> metadata) {
  metadata["format"] = "pt";
  Json header = Json::object();
  header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const Entry& entry : entries) {
    const char* dtype = name_of(entry.type);
    if (dtype == nullptr) {
      return Error(ErrorCode::kInternal,
                   "tensor '" + entry.name + "' has a type that is not stored");
    }
    std::uint64_t end = c10::elementSize(entry.type);
    for (const std::int64_t extent : entry.shape) end *= static_cast<std::uint64_t>(extent);
    end += offset;
    header[entry.name] = {
        {"dtype", dtype}, {"shape", entry.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();
  Result<WritableFile> file = WritableFile::create(path);
  if (!file) return file.error();
  Status status = file->write(std::as_bytes(std::span(&length, 1)));
  if (status) status = file->write(std::as_bytes(std::span(text)));
  if (!status) return status.error();
  return SafetensorsWriter(*std::move(file), std::move(entries));
}

Status SafetensorsWriter::write(const at::Tensor& tensor) {
  const bool expected = written_ < entries_.size() &&
                        tensor.scalar_type() == entries_[written_].type &&
                        tensor.sizes() == at::IntArrayRef(entries_[written_].shape);
  if (!expected) return Error(ErrorCode::kInternal, "a tensor is not the one that was announced");
  ++written_;
  const at::Tensor dense = tensor.contiguous();
  return file_.write({static_cast<const std::byte*>(dense.const_data_ptr()), dense.nbytes()});
}

Status SafetensorsWriter::finish() {
  if (written_ == entries_.size()) return file_.close();
  return Error(ErrorCode::kInternal, "a tensor that was announced was not written");
}

Status write_safetensors(const std::filesystem::path& path,
                         const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                         std::map<std::string, std::string> metadata) {
  std::vector<std::pair<std::string, at::Tensor>> sorted = tensors;
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    const auto key = [](const auto& x) {
      return std::pair(-static_cast<std::int64_t>(x.second.element_size()), x.first);
    };
    return key(a) < key(b);
  });
  std::vector<SafetensorsWriter::Entry> entries;
  entries.reserve(sorted.size());
  for (const auto& [name, tensor] : sorted) {
    entries.push_back({name, tensor.scalar_type(), tensor.sizes().vec()});
  }
  auto writer = SafetensorsWriter::create(path, std::move(entries), std::move(metadata));
  if (!writer) return writer.error();
  for (const auto& [name, tensor] : sorted) {
    if (Status written = writer->write(tensor); !written) return written;
  }
  return writer->finish();
}

}  // namespace tinkex::torch_ext::local
