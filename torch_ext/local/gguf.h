#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tinkex/error.h"
#include "torch_ext/local/gguf_parser.h"

namespace tinkex::torch_ext::local {

/// A GGUF file: typed metadata, and tensors that can be widened to float32. Immutable, thread-safe.
///
/// Its tables are held in memory and its tensors read when they are asked for: a file that is cut
/// off meanwhile is an error. Texts that it returns live as long as the object. Errors are kIo and
/// name the file and the key or tensor. Metadata of another type than asked for is an error, like
/// metadata that is missing: ask contains() first where it may be.
class GgufFile {
 public:
  /// Reads the file's tables, 128 MiB at most, and checks them.
  static Result<std::shared_ptr<const GgufFile>> open(const std::filesystem::path& path);
  /// The same for bytes that `owner` keeps alive; `path` is what errors call them.
  static Result<std::shared_ptr<const GgufFile>> parse(std::filesystem::path path,
                                                       std::span<const std::byte> bytes,
                                                       std::shared_ptr<const void> owner);

  const std::filesystem::path& path() const { return path_; }

  std::vector<std::string> keys() const;
  bool contains(std::string_view key) const { return tables_.metadata.count(key) > 0; }

  Result<bool> flag(std::string_view key) const;
  /// Of any integer type; one above 2^63 - 1 is an error.
  Result<std::int64_t> integer(std::string_view key) const;
  /// Of either float type.
  Result<double> number(std::string_view key) const;
  /// As it is in the file: it may hold any bytes.
  Result<std::string_view> text(std::string_view key) const;

  /// The elements of an array, 2^24 at most. Time and memory are linear in its bytes; nothing is
  /// kept.
  Result<std::vector<std::int64_t>> integers(std::string_view key) const;
  Result<std::vector<double>> numbers(std::string_view key) const;
  Result<std::vector<std::string_view>> texts(std::string_view key) const;

  /// In the file's order.
  const std::vector<GgufTensor>& tensors() const { return tables_.tensors; }
  /// Null if there is none of that name.
  const GgufTensor* find(std::string_view name) const;

  /// Fills `out`, which has as many elements, with a tensor of this file, row after row. A type
  /// that cannot be widened is an error that names those which can.
  Status widen(const GgufTensor& tensor, std::span<float> out) const;
  /// Fills `out` with bytes of a tensor, from its byte `from` on.
  Status read(const GgufTensor& tensor, std::uint64_t from, std::span<std::byte> out) const;

  /// An error about this file.
  Error error(std::string_view what) const;

 private:
  /// Reads bytes of the file from an offset on.
  using Source = std::function<Status(std::uint64_t, std::span<std::byte>)>;

  GgufFile(std::filesystem::path path, GgufTables tables, std::shared_ptr<const void> owner,
           Source source)
      : path_(std::move(path)),
        tables_(std::move(tables)),
        owner_(std::move(owner)),
        source_(std::move(source)) {}

  Result<const GgufValue*> value(std::string_view key) const;
  Result<const GgufValue*> array(std::string_view key) const;
  Error wrong_kind(std::string_view key, const GgufValue& value, std::string_view expected) const;

  std::filesystem::path path_;
  GgufTables tables_;
  std::shared_ptr<const void> owner_;  ///< Of the bytes that the tables point into.
  Source source_;
};

}  // namespace tinkex::torch_ext::local
