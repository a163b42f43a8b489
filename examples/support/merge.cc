#include "examples/support/merge.h"

#include <cstdio>
#include <filesystem>
#include <system_error>

#include "examples/support/setup.h"
#include "torch_ext/adapter.h"
#include "torch_ext/merge.h"

namespace sft {
namespace {

constexpr char kMerged[] = "merged";

}  // namespace

tinkex::Status check_merge(const Options& options, const RunFolder& run,
                           const tinkex::torch_ext::ConnectOptions& where) {
  if (!options.merge) return tinkex::ok_status();
  if (tinkex::torch_ext::choose_backend(where) == tinkex::torch_ext::Backend::kServer) {
    return tinkex::invalid_argument(
        "--merge: the adapter stays on the server; leave the option out, or train a model from "
        "files in this process");
  }
  if (where.embedded.base_models.empty()) {
    return tinkex::invalid_argument("--merge: " + run.plan.base_model +
                                    " is built in and has no files to merge into; give a folder or "
                                    "a GGUF file by --base-model");
  }
  std::error_code problem;
  if (!std::filesystem::exists(run.file(kMerged), problem)) return tinkex::ok_status();
  return tinkex::invalid_argument("--merge: " + run.file(kMerged).string() +
                                  " is there already; move it away");
}

tinkex::Status merge(const tinkex::torch_ext::Connection& connection, const RunFolder& run) {
  const auto checkpoint = tinkex::torch_ext::checkpoint_folder(connection, run.checkpoint());
  if (!checkpoint) return checkpoint.error();
  tinkex::Status merged = tinkex::torch_ext::merge_adapter(
      run.plan.base_model, *checkpoint, run.file(kMerged), weight_type(run.plan));
  if (merged) std::printf("\nMerged:     %s\n", run.file(kMerged).c_str());
  return merged;
}

}  // namespace sft
