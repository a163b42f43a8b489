#include <algorithm>
#include <optional>
#include <string>

#include "tinkex/base/text.h"
#include "tinkex/validate.h"

namespace tinkex {
namespace {

using internal::quoted;

constexpr std::string_view kScheme = "tinker://";
/// Where the hatchery server keeps training checkpoints.
constexpr std::string_view kOtherTrainingFolder = "checkpoints";
constexpr std::size_t kMaxName = 128;
constexpr std::size_t kMaxPath = 4'096;

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

std::string_view folder_of(CheckpointKind kind) {
  return kind == CheckpointKind::kTraining ? "weights" : "sampler_weights";
}

std::string expected_path(CheckpointKind kind) {
  return std::string(kScheme) + "<run>/" + std::string(folder_of(kind)) + "/<name>";
}

std::string_view maker_of(CheckpointKind kind) {
  return kind == CheckpointKind::kTraining ? "save_state" : "save_weights_for_sampler";
}

/// Whether `text` may stand in a line of a log as it is.
bool is_printable(std::string_view text) {
  const auto is_control = [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; };
  return internal::is_utf8(text) && std::none_of(text.begin(), text.end(), is_control);
}

/// What is wrong with a name or path before anything is known of its form; empty: nothing.
std::string flaw_of(std::string_view text) {
  if (text.empty()) return "an empty text";
  if (text.size() > kMaxPath) return std::to_string(text.size()) + " bytes";
  return is_printable(text) ? "" : quoted(text, 200);
}

std::string printable_text() {
  return "printable UTF-8, at most " + std::to_string(kMaxPath) + " bytes";
}

/// Cuts the text before the next slash off; all of it if there is none.
std::string_view take_part(std::string_view& rest) {
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  const std::string_view part = rest.substr(0, slash);
  rest.remove_prefix(std::min(slash + 1, rest.size()));
  return part;
}

/// Of a path; `folder` is empty where it has two parts.
struct Parts {
  std::string_view run;
  std::string_view folder;
  std::string_view name;
};

/// Whether a part stays a part of its own in a URL, where dots lead elsewhere.
bool is_part(std::string_view text) { return !text.empty() && text != "." && text != ".."; }

/// Nothing if the path has not two or three parts.
std::optional<Parts> parts_of(std::string_view path) {
  if (!path.starts_with(kScheme)) return std::nullopt;
  std::string_view rest = path.substr(kScheme.size());
  const auto slashes = std::count(rest.begin(), rest.end(), '/');
  if (slashes != 1 && slashes != 2) return std::nullopt;
  Parts parts;
  parts.run = take_part(rest);
  if (slashes == 2) parts.folder = take_part(rest);
  parts.name = rest;
  if (slashes == 2 && parts.folder.empty()) return std::nullopt;
  if (!is_part(parts.run) || !is_part(parts.name)) return std::nullopt;
  return parts;
}

bool is_training_folder(std::string_view folder) {
  return folder == folder_of(CheckpointKind::kTraining) || folder == kOtherTrainingFolder;
}

bool is_folder(std::string_view text) {
  return is_training_folder(text) || text == folder_of(CheckpointKind::kSampler);
}

}  // namespace

Status validate_checkpoint_name(std::string_view name) {
  const bool good = !name.empty() && name.size() <= kMaxName && name.front() != '.' &&
                    std::all_of(name.begin(), name.end(), is_name_character);
  if (good) return ok_status();
  return invalid_argument(
      "checkpoint name: expected 1 to 128 characters of A-Z a-z 0-9 _ . -, the first not a dot, "
      "got " +
      quoted(name) + " (" + std::to_string(name.size()) +
      " bytes); choose a name such as 'step-100'");
}

Status validate_base_model(std::string_view name) {
  const std::string flaw = flaw_of(name);
  if (flaw.empty()) return ok_status();
  return invalid_argument("base_model: expected a name of " + printable_text() + ", got " + flaw +
                          "; get_supported_models lists the names");
}

Status validate_model_path(std::string_view path) {
  const std::string flaw = flaw_of(path);
  if (!flaw.empty() || !path.starts_with(kScheme)) {
    return invalid_argument("model_path: expected " + expected_path(CheckpointKind::kSampler) +
                            " in " + printable_text() + ", got " +
                            (flaw.empty() ? quoted(path, 200) : flaw) +
                            "; use the path that save_weights_for_sampler returned, or give the "
                            "name of a model as base_model");
  }
  const std::optional<Parts> parts = parts_of(path);
  if (!parts || !is_training_folder(parts->folder)) return ok_status();
  return invalid_argument("model_path: expected " + expected_path(CheckpointKind::kSampler) +
                          ", got " + quoted(path, 200) +
                          "; this one was made by save_state; use the path that "
                          "save_weights_for_sampler returned");
}

Status validate_checkpoint_path(std::string_view path, CheckpointKind kind) {
  if (const std::string flaw = flaw_of(path); !flaw.empty()) {
    return invalid_argument("checkpoint path: expected " + expected_path(kind) + " in " +
                            printable_text() + ", got " + flaw + "; use the path that " +
                            std::string(maker_of(kind)) + " returned");
  }
  const auto fail = [path, kind](const std::string& remedy) {
    return invalid_argument("checkpoint path: expected " + expected_path(kind) + ", got " +
                            quoted(path, 200) + "; " + remedy);
  };
  const std::string from_maker = "use the path that " + std::string(maker_of(kind)) + " returned";
  const std::optional<Parts> parts = parts_of(path);
  if (!parts) return fail(from_maker);
  if (parts->folder == folder_of(kind)) return ok_status();
  if (kind == CheckpointKind::kTraining && is_training_folder(parts->folder)) return ok_status();
  const CheckpointKind other =
      kind == CheckpointKind::kTraining ? CheckpointKind::kSampler : CheckpointKind::kTraining;
  if (parts->folder != folder_of(other)) return fail(from_maker);
  return fail("this one was made by " + std::string(maker_of(other)) + "; " + from_maker);
}

Status validate_checkpoint_path(std::string_view path) {
  const std::string flaw = flaw_of(path);
  const std::optional<Parts> parts = flaw.empty() ? parts_of(path) : std::nullopt;
  // A path of two parts whose second is a folder is one of three that was cut off.
  if (parts && (parts->folder.empty() ? !is_folder(parts->name) : is_folder(parts->folder))) {
    return ok_status();
  }
  return invalid_argument("checkpoint path: expected " + expected_path(CheckpointKind::kTraining) +
                          ", " + expected_path(CheckpointKind::kSampler) +
                          " or, of a server that has samplers there, tinker://<run>/<name>, in " +
                          printable_text() + ", got " + (flaw.empty() ? quoted(path, 200) : flaw) +
                          "; use the path that save_state or save_weights_for_sampler returned");
}

}  // namespace tinkex
