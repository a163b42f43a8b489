#include "torch_ext/local/random_id.h"

#include <random>

namespace tinkex::torch_ext::local {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";
constexpr int kWords = 2;
constexpr int kDigitsOfAWord = 8;

}  // namespace

std::string random_id() {
  std::random_device device;
  std::string id;
  for (int word = 0; word < kWords; ++word) {
    unsigned bits = device();
    for (int digit = 0; digit < kDigitsOfAWord; ++digit, bits >>= 4) id += kDigits[bits & 15u];
  }
  return id;
}

bool is_random_id(std::string_view text) {
  return text.size() == kWords * kDigitsOfAWord &&
         text.find_first_not_of(kDigits) == std::string_view::npos;
}

}  // namespace tinkex::torch_ext::local
