#include "examples/support/run_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <system_error>
#include <utility>

#include "examples/support/counted.h"
#include "examples/support/files.h"
#include "examples/support/text_files.h"
#include "torch_ext/local/digest.h"

namespace sft {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using tinkex::invalid_argument;
using tinkex::Status;

constexpr char kState[] = "state.json";
constexpr char kMetrics[] = "metrics.jsonl";
constexpr char kBackend[] = "backend";
constexpr char kLock[] = ".lock";  // Of the run, and of the backend in its own folder.
constexpr int kFormat = 1;
constexpr char kUnsaved[] =
    ": holds the metrics of a run that ended unsaved; remove the folder or choose another --out";

/// Whether a run has taken a step there.
bool has_metrics(const fs::path& folder) {
  std::error_code missing;
  const auto bytes = fs::file_size(folder / kMetrics, missing);
  return !missing && bytes > 0;
}

/// Tells a run's folder from a copy of it, on this machine or another, and stays when it is moved
/// within a file system. A run that is moved further, or that a new container with another host
/// name goes on with, counts as a copy: so it leaves a checkpoint behind, and never takes another
/// run's. In hexadecimal, for JSON holds UTF-8 alone.
std::string identity_of(const fs::path& folder) {
  namespace local = tinkex::torch_ext::local;
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  struct stat found = {};
  ::stat(folder.c_str(), &found);
  const std::string text = std::string(host.data()) + '/' + std::to_string(found.st_dev) + '/' +
                           std::to_string(found.st_ino);
  return local::to_hex(local::hash64(std::as_bytes(std::span(text))));
}

bool has_state(const fs::path& folder) {
  std::error_code missing;
  return fs::exists(folder / kState, missing);
}

bool is_on_the_way(const std::string& checkpoint) {
  return checkpoint.substr(checkpoint.rfind('/') + 1).starts_with(kOnTheWay);
}

}  // namespace

Status place(const char* option, const std::string& path, std::string& to) {
  std::error_code error;
  fs::path absolute = fs::absolute(path, error).lexically_normal();
  if (error) return file_error("find", path, error.value());
  if (!absolute.has_filename()) absolute = absolute.parent_path();  // a slash at the end
  to = absolute.string();
  // It will be recorded as JSON, which can hold nothing else.
  if (is_utf8(to)) return tinkex::ok_status();
  return invalid_argument(std::string(option) + " " + path + ": the name is not UTF-8; rename it");
}

namespace {

Status apply(const Options& options, Plan& plan) {
  if (options.data) {
    const std::string before = plan.data;
    if (Status placed = place("--data", *options.data, plan.data); !placed) return placed;
    if (plan.data != before) plan.data_digest.clear();  // Others are meant, and no surprise.
  }
  if (options.base_model) plan.base_model = *options.base_model;
  if (options.dtype) plan.dtype = *options.dtype;
  if (options.tokenizer == kBytes) {
    plan.tokenizer = kBytes;
  } else if (options.tokenizer) {
    if (Status placed = place("--tokenizer", *options.tokenizer, plan.tokenizer); !placed) {
      return placed;
    }
  }
  if (options.steps) plan.steps = *options.steps;
  if (options.batch_size) plan.batch_size = *options.batch_size;
  if (options.learning_rate) plan.learning_rate = *options.learning_rate;
  if (options.rank) plan.rank = *options.rank;
  if (options.seed) plan.seed = *options.seed;
  if (options.base_url) plan.base_url = *options.base_url;
  return tinkex::ok_status();
}

/// Whether a folder holds nothing but what a run makes before it has a model: one that was stopped
/// while it loaded has left it.
bool is_unused(const fs::path& folder) {
  std::error_code problem;
  fs::directory_iterator entry(folder, problem);
  for (; !problem && entry != fs::directory_iterator(); entry.increment(problem)) {
    const fs::path name = entry->path().filename();
    if (name == kLock) continue;
    if (name != kBackend || !is_unused(entry->path())) return false;
  }
  return !problem;
}

struct HeldFolder {
  fs::path path;
  std::unique_ptr<FolderLock> lock;
};

/// Takes the first of `sft-out`, `sft-out-2` and so on that is not there, or that a run has left
/// unused and none holds.
tinkex::Result<HeldFolder> take_free_folder() {
  for (int number = 1;; ++number) {
    const fs::path folder = number == 1 ? "sft-out" : "sft-out-" + std::to_string(number);
    std::error_code error;
    const bool made = fs::create_directory(folder, error);
    if (error && error != std::errc::file_exists) {
      return file_error("make the folder", folder, error.value());
    }
    if (!made && (fs::is_symlink(folder, error) || !fs::exists(folder / kLock, error) ||
                  !is_unused(folder))) {
      continue;  // A folder of the user's, be it empty, is not ours to take, or to remove.
    }
    auto lock = FolderLock::take(folder);
    if (!lock) return lock.error();
    if (*lock != nullptr && is_unused(folder)) return HeldFolder{folder, *std::move(lock)};
  }
}

json to_json(const Plan& plan) {
  return {{"data", plan.data},
          {"steps", plan.steps},
          {"batch_size", plan.batch_size},
          {"learning_rate", plan.learning_rate},
          {"rank", plan.rank},
          {"base_model", plan.base_model},
          {"dtype", plan.dtype},
          {"tokenizer", plan.tokenizer},
          {"seed", plan.seed},
          {"data_digest", plan.data_digest},
          {"base_url", plan.base_url}};
}

/// Whether it is an integer from `least` on that the command line would take.
bool is_count(const json& value, std::int64_t least,
              std::int64_t most = std::numeric_limits<std::int32_t>::max()) {
  return value.is_number_integer() && value >= least && value <= most;
}

bool is_dtype(const std::string& name) { return std::ranges::count(kDtypes, name) > 0; }

/// Whether a run can go on from these values. Throws json::exception where one is missing.
bool are_sound(const json& step, const json& plan) {
  return is_count(step, 0) && is_count(plan.at("steps"), 1) &&
         is_count(plan.at("batch_size"), 1, kLargestBatch) && is_count(plan.at("rank"), 1) &&
         is_count(plan.at("seed"), 0) && plan.at("learning_rate") > 0 &&
         is_dtype(plan.value("dtype", kFloat32));
}

/// Throws json::exception where a field is missing or of another type.
Plan plan_from(const json& value) {
  Plan plan;
  value.at("data").get_to(plan.data);
  value.at("steps").get_to(plan.steps);
  value.at("batch_size").get_to(plan.batch_size);
  value.at("learning_rate").get_to(plan.learning_rate);
  value.at("rank").get_to(plan.rank);
  value.at("base_model").get_to(plan.base_model);
  plan.dtype = value.value("dtype", plan.dtype);  // Runs of older versions have none,
  plan.tokenizer = value.value("tokenizer", "");  // nor these.
  plan.data_digest = value.value("data_digest", "");
  value.at("seed").get_to(plan.seed);
  value.at("base_url").get_to(plan.base_url);
  return plan;
}

}  // namespace

tinkex::Result<std::unique_ptr<RunFolder>> RunFolder::open(const Options& options) {
  fs::path named = options.resume ? *options.resume : options.out.value_or("");
  const bool make = named.empty();
  std::unique_ptr<FolderLock> lock;
  if (make) {
    auto taken = take_free_folder();
    if (!taken) return taken.error();
    named = taken->path;
    lock = std::move(taken->lock);
  }
  std::error_code error;
  const fs::path path = fs::absolute(named, error);
  if (error) return file_error("find", named, error.value());
  std::unique_ptr<RunFolder> run(new RunFolder(path.lexically_normal()));
  run->created_ = make;
  run->lock_ = std::move(lock);
  const Status opened = options.resume ? run->load(options) : run->create(options);
  if (!opened) return opened.error();
  return run;
}

Status RunFolder::hold(const std::string& name, const char* remedy) {
  auto lock = FolderLock::take(path_);
  if (!lock) return lock.error();
  if (*lock == nullptr) return invalid_argument(name + ": is in use by another run; " + remedy);
  lock_ = *std::move(lock);
  return tinkex::ok_status();
}

Status RunFolder::create(const Options& options) {
  if (Status applied = apply(options, plan); !applied) return applied;
  std::error_code error;
  if (fs::create_directories(path_, error)) created_ = true;
  if (error) return file_error("make the folder", path_, error.value());
  const std::string name = "--out " + path_.string();
  if (lock_ == nullptr) {
    if (Status held = hold(name, "choose another --out"); !held) return held;
  }
  if (has_state(path_)) {
    return invalid_argument(name +
                            ": holds a run already; go on with it by --resume, or choose another "
                            "folder");
  }
  if (has_metrics(path_)) return invalid_argument(name + kUnsaved);
  return tinkex::ok_status();
}

Status RunFolder::load(const Options& options) {
  const std::string name = "--resume " + path_.string();
  std::error_code missing;
  if (fs::is_directory(path_, missing)) {
    if (Status held = hold(name, "wait until that has ended"); !held) return held;
  }
  if (!has_state(path_)) {
    if (has_metrics(path_)) return invalid_argument(name + kUnsaved);
    return invalid_argument(name +
                            ": holds no saved run (no state.json); name the folder that a "
                            "run printed at its end");
  }
  const auto text = read_text(file(kState));
  if (!text) return text.error();
  Status read = read_state(*text);
  if (!read) return read.error();
  if (plan.base_url.empty() && options.base_url) {
    return invalid_argument(name +
                            ": was trained by the embedded backend, and its checkpoint is in "
                            "that folder; leave out --base-url");
  }
  if (Status applied = apply(options, plan); !applied) return applied;
  if (step_ > plan.steps || (step_ == plan.steps && !options.merge)) {
    return invalid_argument(name + ": has made " + counted(step_, "step") + ", and " +
                            std::to_string(plan.steps) + " were asked for; give --steps above " +
                            std::to_string(step_) + " to go on");
  }
  resumed_ = true;
  return tinkex::ok_status();
}

Status RunFolder::read_state(const std::string& text) {
  const auto damaged = [this] {
    return invalid_argument(file(kState).string() +
                            " is damaged; restore it, or start anew with --out");
  };
  try {
    const json state = json::parse(text);
    if (state.at("format") != kFormat) {
      return invalid_argument(file(kState).string() + " has format " + state.at("format").dump() +
                              ", this program reads " + std::to_string(kFormat));
    }
    const json& batch_size = state.at("plan").at("batch_size");
    if (is_count(batch_size, kLargestBatch + 1)) {  // Older versions took any.
      return invalid_argument(file(kState).string() + " has batch_size " + batch_size.dump() +
                              ", at most " + std::to_string(kLargestBatch) +
                              " is held in memory; start anew with --out");
    }
    if (!are_sound(state.at("step"), state.at("plan"))) return damaged();
    state.at("step").get_to(step_);
    state.at("checkpoint").get_to(checkpoint_);
    superseded_ = state.value("superseded", superseded_);  // Runs of older versions have none.
    std::erase(superseded_, checkpoint_);
    plan = plan_from(state.at("plan"));
    // The embedded backend's checkpoints lie in the folder, and were copied with it.
    copied_ = !plan.base_url.empty() && state.value("folder", "") != identity_of(path_);
    if (copied_) left_behind_ = std::exchange(superseded_, {});
    if (copied_ && is_on_the_way(checkpoint_)) left_behind_.push_back(checkpoint_);
    record_ = text;
  } catch (const json::exception&) {
    return damaged();
  }
  return tinkex::ok_status();
}

bool RunFolder::checkpoint_goes() const { return is_on_the_way(checkpoint_) && !copied_; }

Status RunFolder::expect(const std::string& checkpoint) {
  if (checkpoint == checkpoint_) return tinkex::ok_status();
  unrecorded_ = checkpoint;
  std::erase(superseded_, checkpoint);
  superseded_.push_back(checkpoint);
  if (!saved()) return tinkex::ok_status();
  json state = json::parse(record_);  // All else stays, whose folder it is, too.
  state["superseded"] = superseded_;
  return write_record(state.dump(2) + "\n");
}

Status RunFolder::save(std::int64_t step, std::string checkpoint) {
  // Whatever becomes of the record: it may name it even where that cannot be made durable.
  std::erase(superseded_, checkpoint);
  if (unrecorded_ == checkpoint) unrecorded_.clear();
  std::vector<std::string> superseded = superseded_;
  if (checkpoint_goes() && checkpoint_ != checkpoint) superseded.push_back(checkpoint_);
  // With those, as this process may end before they are deleted.
  const json state = {{"format", kFormat},
                      {"step", step},
                      {"checkpoint", checkpoint},
                      {"superseded", superseded},
                      {"folder", identity_of(path_)},
                      {"plan", to_json(plan)}};
  Status written = write_record(state.dump(2) + "\n");
  if (!written) return written;
  superseded_ = std::move(superseded);
  copied_ = false;
  step_ = step;
  checkpoint_ = std::move(checkpoint);
  return written;
}

Status RunFolder::write_record(std::string record) {
  Status written = write_file(file(kState), record);
  if (written) record_ = std::move(record);
  return written;
}

RunFolder::~RunFolder() {
  std::error_code ignored;
  if (!created_ || has_state(path_) || has_metrics(path_)) return;
  // Only what is known, and only empty folders. Without the lock all of it is another run's.
  if (lock_ == nullptr) {
    fs::remove(path_, ignored);
    return;
  }
  fs::remove(file(kMetrics), ignored);
  fs::remove(file(kBackend) / kLock, ignored);
  fs::remove(file(kBackend), ignored);
  lock_.reset();
  fs::remove(path_, ignored);
}

}  // namespace sft
