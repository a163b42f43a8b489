#include "tinkex/training/metrics_reduction.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tinkex::internal {
namespace {

/// One metric over the chunks that have it, in chunk order. Never empty.
struct Series {
  std::vector<double> values;
  std::vector<double> weights;
};

using SeriesByName = std::map<std::string_view, Series>;

/// |trunc(x)| is mantissa * 2^exponent, exactly; any finite double fits.
struct WholeNumber {
  bool negative = false;
  std::uint64_t mantissa = 0;
  int exponent = 0;
};

WholeNumber truncate(double value) noexcept {
  const double whole = std::trunc(value);
  if (!std::isfinite(value) || whole == 0) return {};
  constexpr int kDigits = std::numeric_limits<double>::digits;
  int exponent = 0;
  const double fraction = std::frexp(std::fabs(whole), &exponent);
  const auto mantissa = static_cast<std::uint64_t>(std::ldexp(fraction, kDigits));
  exponent -= kDigits;
  // A whole number has zeros below its point, so nothing is lost by the shift.
  if (exponent < 0) return {whole < 0, mantissa >> -exponent, 0};
  return {whole < 0, mantissa, exponent};
}

/// CPython's hash of an integer: its magnitude modulo 2^61 - 1 with its sign; -1 is reserved.
std::int64_t python_hash(WholeNumber number) noexcept {
  constexpr int kBits = 61;
  constexpr std::uint64_t kModulus = (std::uint64_t{1} << kBits) - 1;
  // 2^61 is 1 modulo 2^61 - 1, so multiplying by a power of two rotates the 61 bits.
  const int shift = number.exponent % kBits;
  const std::uint64_t rotated =
      ((number.mantissa << shift) & kModulus) | (number.mantissa >> (kBits - shift));
  const auto magnitude = static_cast<std::int64_t>(rotated);
  const std::int64_t hash = number.negative ? -magnitude : magnitude;
  return hash == -1 ? -2 : hash;
}

double largest(const std::vector<double>& values) {
  return *std::max_element(values.begin(), values.end());
}

bool any_nan(const std::vector<double>& values) {
  return std::any_of(values.begin(), values.end(), [](double value) { return std::isnan(value); });
}

double sum(const std::vector<double>& values) {
  double total = 0;
  for (const double value : values) total += value;
  return total;
}

double mean(const Series& series) {
  if (series.values.size() == 1) return series.values.front();
  const double total_weight = sum(series.weights);
  if (total_weight == 0) return sum(series.values) / static_cast<double>(series.values.size());
  double total = 0;
  for (std::size_t i = 0; i < series.values.size(); ++i) {
    total += series.weights[i] * series.values[i];
  }
  return total / total_weight;
}

/// Everything but `unique`, which has more than one result.
double reduce(std::string_view reduction, const Series& series) {
  const std::vector<double>& values = series.values;
  if (reduction == "sum") return sum(values);
  if (reduction == "hash_unordered") return static_cast<double>(hash_unordered(values));
  if (reduction == "hash2") return static_cast<double>(hash2(values));
  const bool by_order = reduction == "min" || reduction == "max" || reduction == "slack";
  if (by_order && any_nan(values)) return std::numeric_limits<double>::quiet_NaN();
  if (reduction == "min") return *std::min_element(values.begin(), values.end());
  if (reduction == "max") return largest(values);
  if (reduction == "slack") return largest(values) - mean(series);
  return mean(series);
}

void keep_each(std::string_view name, const Series& series, const SeriesByName& all, Metrics& out) {
  out.emplace(name, series.values.front());
  std::size_t number = 0;
  for (std::size_t i = 1; i < series.values.size(); ++i) {
    std::string numbered;
    do {
      numbered = std::string(name) + "_" + std::to_string(++number);
    } while (all.contains(numbered));
    out.emplace(std::move(numbered), series.values[i]);
  }
}

SeriesByName by_name(std::span<const ChunkMetrics> chunks) {
  SeriesByName all;
  for (const ChunkMetrics& chunk : chunks) {
    for (const auto& [name, value] : *chunk.metrics) {
      Series& series = all[name];
      series.values.push_back(value);
      series.weights.push_back(static_cast<double>(chunk.num_outputs));
    }
  }
  return all;
}

std::string_view reduction_of(std::string_view name) {
  const std::size_t colon = name.rfind(':');
  return colon == std::string_view::npos ? std::string_view() : name.substr(colon + 1);
}

}  // namespace

Metrics reduce_metrics(std::span<const ChunkMetrics> chunks) {
  const SeriesByName all = by_name(chunks);
  Metrics out;
  for (const auto& [name, series] : all) {
    const std::string_view reduction = reduction_of(name);
    if (reduction == "unique") {
      keep_each(name, series, all, out);
    } else {
      out.emplace(name, reduce(reduction, series));
    }
  }
  return out;
}

std::int64_t hash_unordered(std::span<const double> values) {
  std::vector<double> whole;
  whole.reserve(values.size());
  for (const double value : values) whole.push_back(std::isfinite(value) ? std::trunc(value) : 0.0);
  std::sort(whole.begin(), whole.end());

  // The xxHash constants and the closing steps of CPython's tuplehash.
  constexpr std::uint64_t kPrime1 = 11400714785074694791U;
  constexpr std::uint64_t kPrime2 = 14029467366897019727U;
  constexpr std::uint64_t kPrime5 = 2870177450012600261U;
  std::uint64_t hash = kPrime5;
  for (const double value : whole) {
    hash += static_cast<std::uint64_t>(python_hash(truncate(value))) * kPrime2;
    hash = std::rotl(hash, 31) * kPrime1;
  }
  hash += whole.size() ^ (kPrime5 ^ 3527539U);
  if (hash == std::numeric_limits<std::uint64_t>::max()) hash = 1546275796U;
  return static_cast<std::int64_t>(hash);
}

std::uint64_t hash2(std::span<const double> values) noexcept {
  std::uint64_t total = 0;
  for (const double value : values) {
    const WholeNumber number = truncate(value);
    const std::uint64_t magnitude = number.exponent < 64 ? number.mantissa << number.exponent : 0;
    total += number.negative ? 0 - magnitude : magnitude;
  }
  return total;
}

}  // namespace tinkex::internal
