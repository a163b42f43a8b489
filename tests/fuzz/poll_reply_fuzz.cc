#include <charconv>

#include "tests/fuzz/properties.h"
#include "tinkex/base/text.h"

// The input is a reply in short: the status, header lines, an empty line, the body.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tinkex::fuzz::ByteSource bytes(data, size);
  tinkex::HttpResponse reply;
  const std::string_view status = bytes.until('\n');
  std::from_chars(status.data(), status.data() + status.size(), reply.status);
  for (std::string_view line = bytes.until('\n'); !line.empty(); line = bytes.until('\n')) {
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    reply.headers.emplace_back(tinkex::internal::lower_case(line.substr(0, colon)),
                               std::string(line.substr(colon + 1)));
  }
  reply.body = std::string(bytes.rest());
  tinkex::fuzz::check_poll_reply(reply);
  tinkex::fuzz::check_error_of(reply);
  return 0;
}
