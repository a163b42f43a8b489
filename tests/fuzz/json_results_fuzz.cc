#include "tests/fuzz/properties.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tinkex::fuzz::check_results(tinkex::wire::json_codec(), tinkex::fuzz::text_of(data, size));
  return 0;
}
