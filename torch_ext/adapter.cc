#include "torch_ext/adapter.h"

#include <memory>
#include <string>
#include <utility>

#include "torch_ext/local/checkpoint.h"
#include "torch_ext/local/guard.h"
#include "torch_ext/local/io_error.h"
#include "torch_ext/local/router.h"

namespace tinkex::torch_ext {
namespace {

Result<std::shared_ptr<local::Backend>> backend_of(const Connection& connection) {
  if (!connection.embedded) {
    return invalid_argument("connection: adapters are on " + connection.description +
                            ", not on this machine; connect to the embedded backend");
  }
  if (auto backend = connection.backend.lock()) return backend;
  return Error(ErrorCode::kClosed, "connection: its embedded backend has ended");
}

/// PEFT's own folders have no record of what they belong to, and neither have other servers'.
Status check_record(const std::filesystem::path& folder) {
  const local::Unrecorded kind = local::look_for_record(folder);
  if (kind == local::Unrecorded::kNo) return ok_status();
  const std::string what = kind == local::Unrecorded::kForeign
                               ? "is an adapter that PEFT saved"
                               : "is a checkpoint that lost its metadata.json, or another server's";
  return local::file_error(
      folder, what +
                  ", expected a checkpoint of the embedded backend, which has a metadata.json; "
                  "import_adapter(connection, folder, name) makes one of it");
}

}  // namespace

Result<std::filesystem::path> checkpoint_folder(const Connection& connection,
                                                std::string_view path) {
  const auto backend = backend_of(connection);
  if (!backend) return backend.error();
  return (*backend)->checkpoint_folder(path);
}

Result<AdapterState> load_adapter(const std::filesystem::path& folder) {
  return local::guarded(
      [&]() -> Result<AdapterState> {
        if (Status recorded = check_record(folder); !recorded) return recorded.error();
        const Result<local::CheckpointInfo> info = local::read_checkpoint_info(folder);
        if (!info) return info.error();
        const Result<local::SafetensorsFile> file = local::open_adapter_file(folder);
        if (!file) return file.error();
        AdapterState state;
        state.base_model = info->base_model;
        state.lora = info->lora;
        state.alpha = local::kLoraAlpha;
        for (const std::string& name : file->names()) {
          Result<at::Tensor> tensor = file->read(name);
          if (!tensor) return tensor.error();
          state.tensors.insert(name, *std::move(tensor));
        }
        return state;
      },
      "not enough memory to read an adapter; check that its file is whole");
}

Result<std::string> import_adapter(const Connection& connection,
                                   const std::filesystem::path& folder, const std::string& name,
                                   const std::string& base_model) {
  const auto backend = backend_of(connection);
  if (!backend) return backend.error();
  return (*backend)->import_adapter(folder, name, base_model);
}

}  // namespace tinkex::torch_ext
