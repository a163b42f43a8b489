#include <cstdint>
#include <string_view>

#include "tests/fuzz/properties.h"
#include "torch_ext/local/safetensors_header.h"

using namespace tinkex;
using torch_ext::local::safetensors_element_size;
using torch_ext::local::SafetensorsHeader;

// The first two bytes say how many follow the header, the rest is its text.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::uint64_t rest = static_cast<std::uint64_t>(data[0]) << 8 | data[1];
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::uint64_t start = SafetensorsHeader::kLengthBytes + text.size();
  const fuzz::AllocationMeter meter;
  const auto header = SafetensorsHeader::parse("fuzz.safetensors", text, start + rest);
  if (!header.ok()) {
    fuzz::check_error(header.error(), {ErrorCode::kIo});
  } else {
    std::uint64_t covered = 0;
    for (const auto& [name, entry] : header->entries) {
      TINKEX_FUZZ_CHECK(safetensors_element_size(entry.dtype) > 0);
      TINKEX_FUZZ_CHECK(entry.begin >= start && entry.begin + entry.size <= start + rest);
      covered += entry.size;
    }
    TINKEX_FUZZ_CHECK(covered == rest);
  }
  TINKEX_FUZZ_CHECK(meter.peak() <= fuzz::allowed_memory(size));
  return 0;
}
