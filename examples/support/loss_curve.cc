#include "examples/support/loss_curve.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace sft {
namespace {

constexpr double kWidth = 800;
constexpr double kHeight = 480;
constexpr double kLeft = 76;
constexpr double kRight = 24;
constexpr double kTop = 60;
constexpr double kBottom = 60;
constexpr std::size_t kMostPoints = 2000;

std::string number(double value, const char* pattern = "%.2f") {
  char text[32];
  std::snprintf(text, sizeof(text), pattern, value);
  return text;
}

std::string escape(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '<') {
      escaped += "&lt;";
    } else if (c == '&') {
      escaped += "&amp;";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

/// A round distance between ticks, so that about `count` of them cover `range`.
double tick_distance(double range, int count) {
  const double raw = range / count;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (raw <= factor * power) return factor * power;
  }
  return 10 * power;
}

/// Where values lie on the picture.
struct Axes {
  double first = 0;
  double last = 1;
  double top = 1;

  double x(double step) const {
    return kLeft + (step - first) / (last - first) * (kWidth - kLeft - kRight);
  }
  double y(double loss) const {
    return kHeight - kBottom - std::min(loss / top, 1.0) * (kHeight - kTop - kBottom);
  }
};

Axes axes_of(const std::vector<LossPoint>& points) {
  Axes axes;
  if (points.empty()) return axes;
  double highest = 0;
  for (const LossPoint& point : points) highest = std::max(highest, point.loss);
  const double tick = tick_distance(std::max(highest, 1e-6), 6);
  axes.first = static_cast<double>(points.front().step);
  axes.last = std::max(axes.first + 1, static_cast<double>(points.back().step));
  axes.top = tick * std::ceil(std::max(highest, 1e-6) / tick);
  return axes;
}

/// Steps that are drawn as one point, so that a long run stays a small file.
std::size_t steps_of_a_point(std::size_t steps) { return steps / kMostPoints + 1; }

/// Means of equal runs of steps. Skips what is no number.
std::vector<LossPoint> thin_out(const std::vector<LossPoint>& losses) {
  const std::size_t run = steps_of_a_point(losses.size());
  std::vector<LossPoint> points;
  for (std::size_t begin = 0; begin < losses.size(); begin += run) {
    const std::size_t end = std::min(begin + run, losses.size());
    double sum = 0;
    for (std::size_t i = begin; i < end; ++i) sum += losses[i].loss;
    const double mean = sum / static_cast<double>(end - begin);
    if (std::isfinite(mean)) points.push_back({losses[end - 1].step, mean});
  }
  return points;
}

/// Neighbours on each side in the moving average. With none it would be the points again.
std::size_t reach_of(const std::vector<LossPoint>& points) { return points.size() / 60; }

/// Mean of each point and its neighbours on both sides, as many of them as exist on both.
std::vector<LossPoint> smooth(const std::vector<LossPoint>& points) {
  const std::size_t reach = reach_of(points);
  std::vector<LossPoint> smoothed;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const std::size_t side = std::min({reach, i, points.size() - 1 - i});
    double sum = 0;
    for (std::size_t j = i - side; j <= i + side; ++j) sum += points[j].loss;
    smoothed.push_back({points[i].step, sum / static_cast<double>(2 * side + 1)});
  }
  return smoothed;
}

std::string line(const std::vector<LossPoint>& points, const Axes& axes, const std::string& style) {
  std::string out = "<polyline fill=\"none\" stroke-linejoin=\"round\" " + style;
  out += " points=\"";
  for (const LossPoint& point : points) {
    out += number(axes.x(static_cast<double>(point.step))) + "," + number(axes.y(point.loss)) + " ";
  }
  return out + "\"/>\n";
}

std::string text(double x, double y, const std::string& attributes, const std::string& content) {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" " + attributes + ">" +
         escape(content) + "</text>\n";
}

std::string rule(double x1, double y1, double x2, double y2, const char* colour) {
  return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) +
         "\" y2=\"" + number(y2) + "\" stroke=\"" + colour + "\"/>\n";
}

std::string draw_axes(const Axes& axes) {
  const double bottom = kHeight - kBottom;
  std::string out;
  const double dy = tick_distance(axes.top, 6);
  for (int i = 0; i * dy <= axes.top * 1.0001; ++i) {
    const double y = axes.y(i * dy);
    out += rule(kLeft, y, kWidth - kRight, y, "#e4e4e4");
    out += text(kLeft - 8, y + 4, "text-anchor=\"end\"", number(i * dy, "%.4g"));
  }
  const double dx = std::max(1.0, tick_distance(axes.last - axes.first, 8));
  for (auto tick = std::llround(std::ceil(axes.first / dx));; ++tick) {
    const double x = static_cast<double>(tick) * dx;
    if (x > axes.last) break;
    out += rule(axes.x(x), bottom, axes.x(x), bottom + 5, "#444");
    out += text(axes.x(x), bottom + 20, "text-anchor=\"middle\"", number(x, "%.10g"));
  }
  out += rule(kLeft, bottom, kWidth - kRight, bottom, "#444");
  out += rule(kLeft, kTop, kLeft, bottom, "#444");
  out += text((kLeft + kWidth - kRight) / 2, kHeight - 16, "text-anchor=\"middle\"", "step");
  const double middle = (kTop + bottom) / 2;
  out +=
      text(20, middle, "text-anchor=\"middle\" transform=\"rotate(-90 20 " + number(middle) + ")\"",
           "loss per weighted token");
  return out;
}

std::string summary(const std::vector<LossPoint>& points, std::size_t steps) {
  if (points.empty()) return "no steps yet";
  const LossPoint& last = points.back();
  std::string told = "loss " + number(points.front().loss, "%.3g") + " at step " +
                     std::to_string(points.front().step);
  if (points.size() == 1) return told;
  told += ", " + number(last.loss, "%.3g") + " at step " + std::to_string(last.step);
  const std::size_t run = steps_of_a_point(steps);
  const std::string each = run == 1 ? "each step" : "means of " + std::to_string(run) + " steps";
  if (reach_of(points) == 0) return told + "; " + each;
  return told + "; light: " + each + ", dark: moving average";
}

/// A dot for one point, of which there is no line; else a line, and the moving average over it
/// where that is another.
std::string draw_losses(const std::vector<LossPoint>& points, const Axes& axes) {
  const std::string dark = "stroke=\"#1f5f99\" stroke-width=\"2\"";
  if (points.size() == 1) {
    return "<circle cx=\"" + number(axes.x(static_cast<double>(points.front().step))) + "\" cy=\"" +
           number(axes.y(points.front().loss)) + "\" r=\"3\" fill=\"#1f5f99\"/>\n";
  }
  if (reach_of(points) == 0) return line(points, axes, dark);
  return line(points, axes, "stroke=\"#9cc3e6\" stroke-width=\"1\"") +
         line(smooth(points), axes, dark);
}

}  // namespace

std::string draw_loss_curve(const std::vector<LossPoint>& losses, const std::string& title) {
  const std::vector<LossPoint> points = thin_out(losses);
  const Axes axes = axes_of(points);
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " +
                    number(kWidth, "%.0f") + " " + number(kHeight, "%.0f") + "\" width=\"" +
                    number(kWidth, "%.0f") + "\" height=\"" + number(kHeight, "%.0f") +
                    "\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#333\">\n"
                    "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n";
  svg += text(kLeft, 26, "font-size=\"16\" font-weight=\"bold\"", title);
  svg += text(kLeft, 46, "fill=\"#666\"", summary(points, losses.size()));
  svg += draw_axes(axes);
  return svg + draw_losses(points, axes) + "</svg>\n";
}

}  // namespace sft
