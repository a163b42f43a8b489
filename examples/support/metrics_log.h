#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "tinkex/error.h"

namespace sft {

/// What is recorded of one step.
struct StepRecord {
  std::int64_t step = 0;  ///< Counts from 1.
  double loss = 0;        ///< Per weighted token.
  double learning_rate = 0;
  std::int64_t tokens = 0;
  double seconds = 0;  ///< Of training, since this process began it.
};

/// A loss and its step, for the curve.
struct LossPoint {
  std::int64_t step = 0;
  double loss = 0;
};

/// `metrics.jsonl`: one JSON object a step. A line is on disk as a whole or not at all. Its seconds
/// go on where those of earlier processes ended.
class MetricsLog {
 public:
  /// Goes on after step `last_step`: lines of later steps, which no checkpoint holds, are dropped.
  static tinkex::Result<std::unique_ptr<MetricsLog>> open(std::filesystem::path path,
                                                          std::int64_t last_step);
  ~MetricsLog();
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;

  tinkex::Status append(const StepRecord& record);

  const std::filesystem::path& path() const { return path_; }
  /// All steps, those of earlier processes included.
  const std::vector<LossPoint>& losses() const { return losses_; }

 private:
  MetricsLog(std::filesystem::path path, int file) : path_(std::move(path)), file_(file) {}

  const std::filesystem::path path_;
  const int file_;
  std::vector<LossPoint> losses_;
  double seconds_before_ = 0;  ///< Those of the last line that was there.
};

}  // namespace sft
