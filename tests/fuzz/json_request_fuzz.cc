#include "tests/fuzz/properties.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body = tinkex::fuzz::text_of(data, size);
  for (const bool forward_only : {false, true}) {
    tinkex::fuzz::check_request(tinkex::wire::json_codec(), body, forward_only);
  }
  return 0;
}
