#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

namespace tinkex {
namespace internal {

/// Overwrites memory with zeros; the compiler may not leave it out.
inline void wipe(char* data, std::size_t size) noexcept {
  volatile char* bytes = data;
  for (std::size_t i = 0; i < size; ++i) bytes[i] = 0;
}

}  // namespace internal

/// A credential. Prints as ***, is compared in time that depends on the lengths only, and its
/// memory is wiped before it is freed. Made from text by assignment (`options.api_key =
/// "tml-..."`); it owns a copy, and the caller's own stays as it was.
class Secret {
 public:
  Secret() = default;
  Secret(std::string_view text)  // NOLINT(google-explicit-constructor)
      : data_(allocate(text)), size_(text.size()) {}
  Secret(const std::string& text)  // NOLINT(google-explicit-constructor)
      : Secret(std::string_view(text)) {}
  Secret(const char* text)  // NOLINT(google-explicit-constructor)
      : Secret(std::string_view(text)) {}
  Secret(const Secret& other) : Secret(other.reveal()) {}
  Secret(Secret&& other) noexcept { swap(other); }
  Secret& operator=(Secret other) noexcept {
    swap(other);
    return *this;
  }
  ~Secret() {
    if (data_) internal::wipe(data_.get(), size_);
  }

  bool empty() const noexcept { return size_ == 0; }
  /// The text itself, for the one place that sends it.
  std::string_view reveal() const noexcept { return {data_.get(), size_}; }

  friend bool operator==(const Secret& a, const Secret& b) noexcept {
    if (a.size_ != b.size_) return false;
    unsigned char difference = 0;
    for (std::size_t i = 0; i < a.size_; ++i) {
      difference |= static_cast<unsigned char>(a.data_[i] ^ b.data_[i]);
    }
    return difference == 0;
  }

  friend std::ostream& operator<<(std::ostream& stream, const Secret& secret) {
    return stream << (secret.empty() ? "(none)" : "***");
  }

 private:
  // On the heap even when short: a moved std::string leaves its inline bytes behind.
  static std::unique_ptr<char[]> allocate(std::string_view text) {
    if (text.empty()) return nullptr;
    std::unique_ptr<char[]> data(new char[text.size()]);
    std::memcpy(data.get(), text.data(), text.size());
    return data;
  }

  void swap(Secret& other) noexcept {
    data_.swap(other.data_);
    std::swap(size_, other.size_);
  }

  std::unique_ptr<char[]> data_;
  std::size_t size_ = 0;
};

}  // namespace tinkex
