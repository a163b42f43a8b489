#include "torch_ext/local/io_error.h"

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

namespace tinkex::torch_ext::local {

namespace {

Error error_about(const std::filesystem::path& path, std::string_view what, int error_number,
                  std::string_view remedy_of_space) {
  std::string message = std::string(what) + " '" + path.string() + "'";
  if (error_number != 0) message += ": " + std::generic_category().message(error_number);
  if (error_number == ENOSPC || error_number == EDQUOT) message += remedy_of_space;
  return Error(ErrorCode::kIo, std::move(message));
}

}  // namespace

Error io_error(const std::filesystem::path& path, std::string_view what, int error_number) {
  return error_about(path, what, error_number, "; free some space and try again");
}

Error save_error(const std::filesystem::path& path, std::string_view what, int error_number) {
  return error_about(path, what, error_number,
                     "; free some space and save again, nothing was left behind");
}

Error file_error(const std::filesystem::path& path, const std::string& what) {
  return Error(ErrorCode::kIo, "'" + path.string() + "': " + what);
}

}  // namespace tinkex::torch_ext::local
