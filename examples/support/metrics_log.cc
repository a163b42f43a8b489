#include "examples/support/metrics_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>

#include "examples/support/files.h"

namespace sft {
namespace {

using nlohmann::json;

double number_of(const json& value, const char* key, double absent) {
  const auto found = value.find(key);
  return found != value.end() && found->is_number() ? found->get<double>() : absent;
}

/// What is kept of a log.
struct Kept {
  std::string lines;
  std::vector<LossPoint> losses;
  double seconds = 0;  ///< Those of the last line.
};

/// The lines up to a step, as they stand. An unreadable line ends them.
Kept lines_until(const std::string& text, std::int64_t last_step) {
  Kept kept;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const json value = json::parse(line, nullptr, false);
    if (!value.is_object() || !value.contains("step") || !value["step"].is_number_integer()) break;
    const auto step = value["step"].get<std::int64_t>();
    if (step > last_step) break;
    kept.losses.push_back({step, number_of(value, "loss", std::nan(""))});
    kept.seconds = number_of(value, "seconds", kept.seconds);
    kept.lines += line + "\n";
  }
  return kept;
}

}  // namespace

tinkex::Result<std::unique_ptr<MetricsLog>> MetricsLog::open(std::filesystem::path path,
                                                             std::int64_t last_step) {
  Kept kept;
  std::error_code missing;
  if (last_step > 0 && std::filesystem::exists(path, missing)) {
    const auto text = read_text(path);
    if (!text) return text.error();
    kept = lines_until(*text, last_step);
  }
  if (const tinkex::Status written = write_file(path, kept.lines); !written) return written.error();
  const int file = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (file < 0) return file_error("write", path, errno);
  std::unique_ptr<MetricsLog> log(new MetricsLog(std::move(path), file));
  log->losses_ = std::move(kept.losses);
  log->seconds_before_ = kept.seconds;
  return log;
}

MetricsLog::~MetricsLog() { ::close(file_); }

tinkex::Status MetricsLog::append(const StepRecord& record) {
  const json value = {{"step", record.step},
                      {"loss", record.loss},
                      {"learning_rate", record.learning_rate},
                      {"tokens", record.tokens},
                      {"seconds", std::round((seconds_before_ + record.seconds) * 1e3) / 1e3}};
  const std::string line = value.dump() + "\n";
  const off_t before = ::lseek(file_, 0, SEEK_END);
  const ssize_t written = ::write(file_, line.data(), line.size());
  if (written != static_cast<ssize_t>(line.size())) {
    const int why = written < 0 ? errno : ENOSPC;
    if (written > 0) [[maybe_unused]]
      const int cut = ::ftruncate(file_, before);
    return file_error("write", path_, why);
  }
  losses_.push_back({record.step, record.loss});
  return tinkex::ok_status();
}

}  // namespace sft
