#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/error.h"

namespace tinkex::torch_ext::local {

enum class CheckpointKind { kTraining, kSampler };
/// `weights` or `sampler_weights`: the middle part of a path.
std::string_view folder_of(CheckpointKind kind) noexcept;

/// Names one checkpoint: `tinker://<run>/weights/<name>` or
/// `tinker://<run>/sampler_weights/<name>`.
struct CheckpointPath {
  std::string run_id;
  CheckpointKind kind = CheckpointKind::kTraining;
  std::string name;

  /// Refuses other shapes, and names that could leave the data directory.
  static Result<CheckpointPath> parse(std::string_view text);
  std::string text() const;
};

/// The data directory of a backend. What is on disk is the truth: checkpoints of earlier processes
/// are found in it. Held by one backend at a time, through a lock on `<root>/.lock`. Thread-safe.
class CheckpointTree {
 public:
  /// Opens or makes `root`; empty makes a temporary directory that the destructor removes. Remains
  /// of interrupted saves and deletions are removed, here and by the destructor.
  static Result<std::unique_ptr<CheckpointTree>> open(std::filesystem::path root);
  ~CheckpointTree();
  CheckpointTree(const CheckpointTree&) = delete;
  CheckpointTree& operator=(const CheckpointTree&) = delete;

  const std::filesystem::path& root() const noexcept { return root_; }
  /// Where a checkpoint is or will be.
  std::filesystem::path directory(const CheckpointPath& path) const;
  /// The same, refused with the list of its neighbours if there is no such checkpoint; kIo if that
  /// cannot be told.
  Result<std::filesystem::path> find(const CheckpointPath& path) const;
  /// Takes a checkpoint away, as a whole or not at all: renames it to a folder that is nobody's,
  /// for `discard`. Nothing if there is none. Fast.
  Result<std::optional<std::filesystem::path>> set_aside(const CheckpointPath& path) const;
  /// Frees the space of what was set aside; its error names what stays. As long as the disk takes:
  /// for a thread on which nobody waits. What is never discarded goes with the tree.
  static Status discard(const std::filesystem::path& folder);
  /// The folder in which `path` is about to be written.
  Status make_parent(const CheckpointPath& path) const;

  struct Item {
    CheckpointPath path;
    /// When it was written, seconds since 1970.
    std::int64_t time = 0;
  };
  /// The checkpoints of a run, oldest first.
  std::vector<Item> list(std::string_view run_id) const;
  /// Runs that have a checkpoint.
  std::vector<std::string> runs() const;

 private:
  CheckpointTree(std::filesystem::path root, bool temporary, int lock)
      : root_(std::move(root)), temporary_(temporary), lock_(lock) {}
  void remove_remains() const;

  const std::filesystem::path root_;
  const bool temporary_;
  const int lock_;
};

}  // namespace tinkex::torch_ext::local
