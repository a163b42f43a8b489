#include "examples/support/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "examples/support/counted.h"

namespace sft {
namespace {

constexpr std::int64_t kLines = 20;
constexpr double kRedrawSeconds = 0.1;
constexpr std::chrono::milliseconds kSamplingRedraw{500};

template <class... Args>
std::string format(const char* pattern, Args... args) {
  char text[160];
  std::snprintf(text, sizeof(text), pattern, args...);
  return text;
}

int terminal_columns() {
  winsize size = {};
  const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

std::string numbers(const Progress& p) {
  return format("loss %.4f  %s tokens/s  %s left", p.loss,
                format_count(p.tokens_per_second).c_str(), format_duration(p.seconds_left).c_str());
}

std::string position(const Progress& p) {
  const std::string total = std::to_string(p.steps);
  return format("step %*lld/%s", static_cast<int>(total.size()), static_cast<long long>(p.step),
                total.c_str());
}

}  // namespace

std::string format_duration(double seconds) {
  const auto whole = static_cast<long long>(std::llround(std::clamp(seconds, 0.0, 1e9)));
  const long long hours = whole / 3600;
  const long long minutes = whole / 60 % 60;
  if (hours > 0) return format("%lld:%02lld:%02lld", hours, minutes, whole % 60);
  return format("%lld:%02lld", minutes, whole % 60);
}

std::string format_count(double count) {
  if (count < 999.5) return format("%.0f", count);
  if (count < 999'950) return format("%.1fk", count / 1e3);
  return format("%.1fM", count / 1e6);
}

std::string format_bar(const Progress& p, int columns) {
  const std::string left = position(p);
  const std::string right = numbers(p);
  const int room = columns - static_cast<int>(left.size() + right.size()) - 6;
  if (room < 5) return left + "  " + right;
  const int width = std::min(room, 40);
  const double done = p.steps > 0 ? static_cast<double>(p.step) / static_cast<double>(p.steps) : 1;
  const int filled = std::clamp(static_cast<int>(std::floor(done * width)), 0, width);
  std::string bar(static_cast<std::size_t>(filled), '=');
  if (filled < width) bar += '>';
  bar.resize(static_cast<std::size_t>(width), ' ');
  return left + " [" + bar + "]  " + right;
}

std::string format_line(const Progress& p) { return position(p) + "  " + numbers(p); }

ProgressDisplay::ProgressDisplay(std::int64_t first_step, std::int64_t steps)
    : first_step_(first_step), steps_(steps), terminal_(::isatty(STDOUT_FILENO) != 0) {}

double ProgressDisplay::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

Progress ProgressDisplay::measure(std::int64_t step, double loss) const {
  const double elapsed = std::max(seconds(), 1e-9);
  const auto done = static_cast<double>(std::max<std::int64_t>(1, step - first_step_));
  return Progress{.step = step,
                  .steps = steps_,
                  .loss = loss,
                  .tokens_per_second = throughput_.tokens_per_second(),
                  .seconds_left = elapsed / done * static_cast<double>(steps_ - step)};
}

void ProgressDisplay::show(std::int64_t step, double loss, std::int64_t tokens, bool with_a_save) {
  if (with_a_save) {
    throughput_.skip_to(seconds());
  } else {
    throughput_.add(tokens, seconds());
  }
  const Progress now = measure(step, loss);
  if (terminal_) {
    if (step < steps_ && drawn_ >= 0 && seconds() - drawn_ < kRedrawSeconds) return;
    drawn_ = seconds();
    open_line_ = true;
    std::printf("\r%s\033[K", format_bar(now, terminal_columns()).c_str());
  } else {
    const std::int64_t every = std::max<std::int64_t>(1, (steps_ + kLines - 1) / kLines);
    if (step != first_step_ + 1 && step != steps_ && step % every != 0) return;
    std::printf("%s\n", format_line(now).c_str());
  }
  std::fflush(stdout);
}

void ProgressDisplay::finish() {
  if (open_line_) std::printf("\n");
  open_line_ = false;
  std::fflush(stdout);
}

SamplingDisplay::SamplingDisplay(std::size_t prompts, std::chrono::milliseconds interval)
    : text_("Sampling " + counted(prompts, "prompt") + " ..."),
      prompts_(prompts),
      terminal_(::isatty(STDOUT_FILENO) != 0),
      interval_(terminal_ ? kSamplingRedraw : interval) {
  std::printf("%s%s", text_.c_str(), terminal_ ? "" : "\n");
  std::fflush(stdout);
}

void SamplingDisplay::show(std::size_t done) {
  const Clock::time_point now = Clock::now();
  if (now - shown_ < interval_) return;
  shown_ = now;
  const std::string count =
      format(" %zu of %zu done after %s", done, prompts_,
             format_duration(std::chrono::duration<double>(now - start_).count()).c_str());
  std::printf("%s%s%s%s", terminal_ ? "\r" : "", text_.c_str(), count.c_str(),
              terminal_ ? "\033[K" : "\n");
  std::fflush(stdout);
}

SamplingDisplay::~SamplingDisplay() {
  if (terminal_) std::printf("\n");
  std::fflush(stdout);
}

}  // namespace sft
