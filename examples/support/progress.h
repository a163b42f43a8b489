#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace sft {

/// How far a run is.
struct Progress {
  std::int64_t step = 0;   ///< Steps done, those of an earlier process included.
  std::int64_t steps = 0;  ///< Steps in all.
  double loss = 0;
  double tokens_per_second = 0;
  double seconds_left = 0;
};

/// How fast a run learns, without what it spends on saving. Times are seconds of any one clock.
class Throughput {
 public:
  /// What passed until `now` does not count.
  void skip_to(double now) { since_ = now; }
  /// A step of so many tokens took the time until `now`.
  void add(std::int64_t tokens, double now) {
    tokens_ += tokens;
    seconds_ += now - since_;
    since_ = now;
  }
  /// 0 if nothing was counted.
  double tokens_per_second() const {
    return seconds_ > 0 ? static_cast<double>(tokens_) / seconds_ : 0;
  }

 private:
  double since_ = 0;
  double seconds_ = 0;
  std::int64_t tokens_ = 0;
};

/// `1:05`, `2:03:04`.
std::string format_duration(double seconds);
/// `950`, `15.2k`, `3.4M`.
std::string format_count(double count);
/// One line without its end, `columns` wide at most where that leaves room for the numbers.
std::string format_bar(const Progress& progress, int columns);
/// The same without the bar, for logs.
std::string format_line(const Progress& progress);

/// Shows progress on standard output: a bar that is redrawn on a terminal, else about twenty lines
/// over the whole run.
class ProgressDisplay {
 public:
  /// `first_step` steps were done before. The clock begins here.
  ProgressDisplay(std::int64_t first_step, std::int64_t steps);

  ~ProgressDisplay() { finish(); }
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;

  /// After each step, with the tokens that it trained on. `with_a_save` if that time holds a
  /// save, too, which makes it none to measure the speed by.
  void show(std::int64_t step, double loss, std::int64_t tokens, bool with_a_save = false);
  /// What was done since the last step was saving.
  void saved() { throughput_.skip_to(seconds()); }
  /// Leaves the bar as it is and goes on below it.
  void finish();
  double seconds() const;

 private:
  Progress measure(std::int64_t step, double loss) const;

  const std::int64_t first_step_;
  const std::int64_t steps_;
  const bool terminal_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  Throughput throughput_;
  double drawn_ = -1;
  bool open_line_ = false;
};

/// Says on standard output that prompts are sampled, and how many are done while that takes long:
/// on a terminal in the same line, else in a line every `interval`.
class SamplingDisplay {
 public:
  explicit SamplingDisplay(std::size_t prompts,
                           std::chrono::milliseconds interval = std::chrono::seconds(10));
  ~SamplingDisplay();
  SamplingDisplay(const SamplingDisplay&) = delete;
  SamplingDisplay& operator=(const SamplingDisplay&) = delete;

  /// Any number of times, the more often the better.
  void show(std::size_t done);

 private:
  using Clock = std::chrono::steady_clock;

  const std::string text_;
  const std::size_t prompts_;
  const bool terminal_;
  const std::chrono::milliseconds interval_;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point shown_ = start_;
};

}  // namespace sft
