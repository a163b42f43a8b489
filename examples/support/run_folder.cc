#include "examples/support/run_folder.h"

#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "examples/support/files.h"

namespace sft {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using tinkex::invalid_argument;
using tinkex::Status;

constexpr char kState[] = "state.json";
constexpr char kMetrics[] = "metrics.jsonl";
constexpr int kFormat = 1;

/// Whether a run has taken a step there.
bool has_metrics(const fs::path& folder) {
  std::error_code missing;
  const auto bytes = fs::file_size(folder / kMetrics, missing);
  return !missing && bytes > 0;
}

void apply(const Options& options, Plan& plan) {
  if (options.data) plan.data = fs::absolute(*options.data).lexically_normal().string();
  if (options.steps) plan.steps = *options.steps;
  if (options.batch_size) plan.batch_size = *options.batch_size;
  if (options.learning_rate) plan.learning_rate = *options.learning_rate;
  if (options.rank) plan.rank = *options.rank;
  if (options.base_model) plan.base_model = *options.base_model;
  if (options.seed) plan.seed = *options.seed;
  if (options.base_url) plan.base_url = *options.base_url;
}

/// `sft-out`, `sft-out-2` and so on: the first that does not exist.
fs::path free_folder() {
  const std::string name = "sft-out";
  fs::path folder = name;
  for (int number = 2; fs::exists(folder); ++number) folder = name + "-" + std::to_string(number);
  return folder;
}

json to_json(const Plan& plan) {
  return {{"data", plan.data},
          {"steps", plan.steps},
          {"batch_size", plan.batch_size},
          {"learning_rate", plan.learning_rate},
          {"rank", plan.rank},
          {"base_model", plan.base_model},
          {"seed", plan.seed},
          {"base_url", plan.base_url}};
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
  value.at("seed").get_to(plan.seed);
  value.at("base_url").get_to(plan.base_url);
  return plan;
}

}  // namespace

tinkex::Result<std::unique_ptr<RunFolder>> RunFolder::open(const Options& options) {
  const fs::path named = options.resume ? fs::path(*options.resume)
                         : options.out  ? fs::path(*options.out)
                                        : free_folder();
  std::unique_ptr<RunFolder> run(new RunFolder(fs::absolute(named).lexically_normal()));
  const Status opened = options.resume ? run->load(options) : run->create(options);
  if (!opened) return opened.error();
  return run;
}

Status RunFolder::create(const Options& options) {
  apply(options, plan);
  if (fs::exists(file(kState)) || has_metrics(path_)) {
    return invalid_argument("--out " + path_.string() +
                            ": holds a run already; go on with it by --resume, or choose another "
                            "folder");
  }
  std::error_code error;
  created_ = fs::create_directories(path_, error);
  if (error) return file_error("make the folder", path_, error.value());
  return tinkex::ok_status();
}

Status RunFolder::load(const Options& options) {
  const std::string name = "--resume " + path_.string();
  if (!fs::exists(file(kState))) {
    return invalid_argument(name +
                            ": holds no saved run (no state.json); name the folder that a "
                            "run printed at its end");
  }
  const auto text = read_text(file(kState));
  if (!text) return text.error();
  const Status read = read_state(*text);
  if (!read) return read.error();
  if (plan.base_url.empty() && options.base_url) {
    return invalid_argument(name +
                            ": was trained by the embedded backend, and its checkpoint is in "
                            "that folder; leave out --base-url");
  }
  apply(options, plan);
  if (step_ >= plan.steps) {
    return invalid_argument(name + ": has all its " + std::to_string(plan.steps) +
                            " steps; give a larger --steps to go on, it has " +
                            std::to_string(step_));
  }
  resumed_ = true;
  return tinkex::ok_status();
}

Status RunFolder::read_state(const std::string& text) {
  try {
    const json state = json::parse(text);
    if (state.at("format") != kFormat) {
      return invalid_argument(file(kState).string() + " has format " + state.at("format").dump() +
                              ", this program reads " + std::to_string(kFormat));
    }
    state.at("step").get_to(step_);
    state.at("checkpoint").get_to(checkpoint_);
    plan = plan_from(state.at("plan"));
  } catch (const json::exception& error) {
    return invalid_argument(file(kState).string() + " is damaged: " + error.what());
  }
  return tinkex::ok_status();
}

Status RunFolder::save(std::int64_t step, std::string checkpoint) {
  const json state = {
      {"format", kFormat}, {"step", step}, {"checkpoint", checkpoint}, {"plan", to_json(plan)}};
  const Status written = write_file(file(kState), state.dump(2) + "\n");
  if (!written) return written;
  step_ = step;
  checkpoint_ = std::move(checkpoint);
  return written;
}

RunFolder::~RunFolder() {
  std::error_code ignored;
  if (!created_ || step_ > 0 || has_metrics(path_)) return;
  // Only what is known, and only empty folders.
  fs::remove(file(kMetrics), ignored);
  fs::remove(file("backend") / ".lock", ignored);
  fs::remove(file("backend"), ignored);
  fs::remove(path_, ignored);
}

}  // namespace sft
