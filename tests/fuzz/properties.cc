#include "tests/fuzz/properties.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "tinkex/base/text.h"

namespace tinkex::fuzz {
void report_broken(const char* property, const char* file, int line) noexcept {
  std::fprintf(stderr, "%s:%d: does not hold for this input: %s\n", file, line, property);
  std::abort();
}

void check_error(const Error& error, std::initializer_list<ErrorCode> codes) {
  const std::string& message = error.message();
  TINKEX_FUZZ_CHECK(std::find(codes.begin(), codes.end(), error.code()) != codes.end());
  TINKEX_FUZZ_CHECK(!message.empty() && message.size() <= kMaxMessage);
  TINKEX_FUZZ_CHECK(internal::printable(message, message.size()) == message);
}

}  // namespace tinkex::fuzz
