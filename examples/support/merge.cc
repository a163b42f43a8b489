#include "examples/support/merge.h"

#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "examples/support/setup.h"
#include "torch_ext/adapter.h"
#include "torch_ext/merge.h"

namespace sft {
namespace {

constexpr char kMerged[] = "merged";

/// Removes what merges that were killed have left, hundreds of megabytes each. Nobody else writes a
/// model here: the run's lock is held.
void remove_drafts(const std::filesystem::path& folder) {
  std::error_code problem;
  std::vector<std::filesystem::path> drafts;
  std::filesystem::directory_iterator entry(folder, problem);
  for (; !problem && entry != std::filesystem::directory_iterator(); entry.increment(problem)) {
    const std::string name = entry->path().filename().string();
    if (tinkex::torch_ext::is_unfinished_merge(name)) drafts.push_back(entry->path());
  }
  for (const auto& draft : drafts) std::filesystem::remove_all(draft, problem);
}

/// Of a model for which the embedded backend has no files.
tinkex::Error nothing_to_merge_into(const RunFolder& run) {
  const std::string& model = run.plan.base_model;
  if (is_built_in(model)) {
    return tinkex::invalid_argument(
        "--merge: " + model + " is built in and has no files to merge into; " +
        (run.resumed() ? "leave the option out" : "give a folder or a GGUF file by --base-model"));
  }
  if (run.resumed()) return model_is_gone(model).with_context("--merge");
  return tinkex::invalid_argument("--merge: --base-model " + model +
                                  " is no file or folder; give the path of a folder or a GGUF "
                                  "file");
}

}  // namespace

tinkex::Status check_merge(const RunFolder& run, const tinkex::torch_ext::ConnectOptions& where) {
  if (tinkex::torch_ext::choose_backend(where) == tinkex::torch_ext::Backend::kServer) {
    return tinkex::invalid_argument(
        "--merge: the adapter stays on the server; leave the option out, or train a model from "
        "files in this process");
  }
  if (where.embedded.base_models.empty()) {
    return nothing_to_merge_into(run);
  }
  std::error_code problem;
  // Of a link itself, which may lead nowhere: nothing is written through it.
  const auto there = std::filesystem::symlink_status(run.file(kMerged), problem);
  if (!std::filesystem::exists(there)) return tinkex::ok_status();
  return tinkex::invalid_argument("--merge: " + run.file(kMerged).string() +
                                  " is there already; move it away");
}

tinkex::Status merge(const tinkex::torch_ext::Connection& connection, const RunFolder& run) {
  const auto checkpoint = tinkex::torch_ext::checkpoint_folder(connection, run.checkpoint());
  if (!checkpoint) return checkpoint.error();
  remove_drafts(run.path());
  tinkex::Status merged = tinkex::torch_ext::merge_adapter(
      run.plan.base_model, *checkpoint, run.file(kMerged), weight_type(run.plan));
  if (!merged) return merged;
  std::printf("\nMerged:     %s\n", run.file(kMerged).c_str());
  if (weight_type(run.plan) == tinkex::torch_ext::local::WeightType::kBfloat16) {
    std::printf("            with weights rounded to bfloat16, as the run's --dtype has them\n");
  }
  return merged;
}

tinkex::Status merge_alone(const RunFolder& run, tinkex::torch_ext::ConnectOptions where) {
  std::printf("Merging step %lld of %s with %s ...\n", static_cast<long long>(run.step()),
              run.path().c_str(), run.plan.base_model.c_str());
  std::fflush(stdout);
  where.embedded.base_models.clear();  // Only its checkpoints are asked for.
  const auto connection = tinkex::torch_ext::connect(std::move(where));
  return connection ? merge(*connection, run) : connection.error();
}

}  // namespace sft
