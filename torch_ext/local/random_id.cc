#include "torch_ext/local/random_id.h"

#include <random>

namespace tinkex::torch_ext::local {

std::string random_id() {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::random_device device;
  std::string id;
  for (int word = 0; word < 2; ++word) {
    unsigned bits = device();
    for (int digit = 0; digit < 8; ++digit, bits >>= 4) id += kDigits[bits & 15u];
  }
  return id;
}

}  // namespace tinkex::torch_ext::local
