#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "examples/support/folder_lock.h"
#include "examples/support/options.h"
#include "tinkex/error.h"

namespace sft {

/// What the checkpoints are called that a run saves on its way, with their step behind it. They go
/// when a later one is recorded.
inline constexpr char kOnTheWay[] = "on-the-way-";

/// Makes a path mean the same from everywhere: absolute, without a slash at the end. `option`
/// begins the error of one that cannot be recorded.
tinkex::Status place(const char* option, const std::string& path, std::string& to);

/// What decides every loss of a run; saved with it, so that a resumed run goes on exactly.
struct Plan {
  std::string data;        ///< Absolute path; empty: a task that suits the model.
  std::int64_t steps = 0;  ///< 0: by model, as the next two.
  std::int64_t batch_size = 0;
  double learning_rate = 0;
  std::int64_t rank = 32;
  /// A name; in the embedded backend it may be the absolute path of a model instead.
  std::string base_model;        ///< A name, or the absolute path of a model; empty: by backend.
  std::string dtype = kFloat32;  ///< How the embedded backend holds the model's weights.
  std::string tokenizer;         ///< kBytes or an absolute path; empty: the model's own.
  std::int64_t seed = 1;
  std::string base_url;     ///< Empty: the embedded backend.
  std::string data_digest;  ///< Of the examples in the file; empty: of no file, or not known.
};

/// The folder of a run: `metrics.jsonl`, `loss.svg`, `state.json`, and the embedded backend's
/// checkpoints under `backend`. Held by one process at a time.
class RunFolder {
 public:
  /// Opens the run that `options` name: a new folder, or with --resume an old one.
  ///
  /// Errors: kInvalidArgument for a folder that holds a run already, that holds none, that another
  /// process uses, or whose run is done; kIo if it cannot be made or read.
  static tinkex::Result<std::unique_ptr<RunFolder>> open(const Options& options);
  /// Removes the folder again if it was made here and nothing was saved in it.
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  /// Notes a checkpoint that was saved and may be recorded later: if this process ends before that,
  /// it is superseded. Where nothing is recorded yet only this process knows.
  tinkex::Status expect(const std::string& checkpoint);
  /// Records a checkpoint, in `state.json`; replaces the record before as a whole or not at all. If
  /// the one before was saved on the way, it is superseded from then on, unless it lies on a
  /// server and was recorded in another folder, of which this one is a copy: that run needs it.
  tinkex::Status save(std::int64_t step, std::string checkpoint);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path file(const char* name) const { return path_ / name; }
  bool resumed() const { return resumed_; }
  /// Steps that the last checkpoint holds.
  std::int64_t step() const { return step_; }
  /// Whether these are all; one that is resumed so is only to be merged.
  bool done() const { return saved() && step_ == plan.steps; }
  const std::string& checkpoint() const { return checkpoint_; }
  /// Whether there is a checkpoint, of this process or an earlier one.
  bool saved() const { return !checkpoint_.empty(); }
  /// Whether the next record supersedes it.
  bool checkpoint_goes() const;

  /// Checkpoints that nothing needs any more, of earlier processes too; perhaps gone already.
  const std::vector<std::string>& superseded() const { return superseded_; }
  /// The record that follows does not name it any more.
  void forget_superseded(const std::string& path) { std::erase(superseded_, path); }
  /// The one that expect() noted last, if it was not recorded since; else "".
  const std::string& unrecorded() const { return unrecorded_; }
  /// Checkpoints on the server that this run will not delete when they are superseded, as its
  /// folder may be a copy of the one that they belong to.
  const std::vector<std::string>& left_behind() const { return left_behind_; }

  Plan plan;

 private:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
  /// Takes the lock; `name` begins the error if another run has it, `remedy` ends it.
  tinkex::Status hold(const std::string& name, const char* remedy);
  tinkex::Status create(const Options& options);
  tinkex::Status load(const Options& options);
  tinkex::Status read_state(const std::string& text);
  tinkex::Status write_record(std::string record);

  const std::filesystem::path path_;
  std::unique_ptr<FolderLock> lock_;
  bool created_ = false;
  bool resumed_ = false;
  std::int64_t step_ = 0;
  std::string checkpoint_;
  bool copied_ = false;  ///< The record may be another folder's: its checkpoints are not ours.
  std::vector<std::string> superseded_;
  std::string unrecorded_;
  std::vector<std::string> left_behind_;
  std::string record_;  ///< What `state.json` holds.
};

}  // namespace sft
