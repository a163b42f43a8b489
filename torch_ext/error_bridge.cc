#include "torch_ext/error_bridge.h"

#include <c10/util/Exception.h>

namespace tinkex::torch_ext {

std::exception_ptr to_exception(const Error& error) {
  if (error.code() == ErrorCode::kInvalidArgument) {
    return std::make_exception_ptr(c10::ValueError(error.what(), {}));
  }
  return std::make_exception_ptr(c10::Error(error.what(), {}));
}

void throw_error(const Error& error) { std::rethrow_exception(to_exception(error)); }

}  // namespace tinkex::torch_ext
