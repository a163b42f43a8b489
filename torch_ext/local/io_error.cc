#include "torch_ext/local/io_error.h"

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

namespace tinkex::torch_ext::local {

Error io_error(const std::filesystem::path& path, std::string_view what, int error_number) {
  std::string message = std::string(what) + " '" + path.string() + "'";
  if (error_number != 0) message += ": " + std::generic_category().message(error_number);
  if (error_number == ENOSPC || error_number == EDQUOT) {
    message += "; free some space and save again, nothing was left behind";
  }
  return Error(ErrorCode::kIo, std::move(message));
}

Error file_error(const std::filesystem::path& path, const std::string& what) {
  return Error(ErrorCode::kIo, "'" + path.string() + "': " + what);
}

}  // namespace tinkex::torch_ext::local
