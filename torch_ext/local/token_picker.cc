#include "torch_ext/local/token_picker.h"

#include <ATen/ops/_log_softmax.h>
#include <ATen/ops/div.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

namespace tinkex::torch_ext::local {
namespace {

/// Below this, dividing by the temperature would overflow; the likeliest token wins anyway.
constexpr double kZeroTemperature = 1e-5;

/// How many tokens top_p sorts at first; twice as many each time that is not enough.
constexpr std::int64_t kFirstSort = 64;

/// Orders tokens by falling probability, then by rising id.
template <class T>
struct Likelier {
  const T* logprobs;
  bool operator()(std::int64_t a, std::int64_t b) const {
    return logprobs[a] != logprobs[b] ? logprobs[a] > logprobs[b] : a < b;
  }
};

template <class T>
double mass_of(const T* logprobs, const std::vector<std::int64_t>& tokens) {
  double mass = 0;
  for (const std::int64_t token : tokens) mass += std::exp(static_cast<double>(logprobs[token]));
  return mass;
}

/// The shortest run of likeliest tokens whose mass reaches `wanted`; all of them if none does.
template <class T>
std::vector<std::int64_t> nucleus(const T* logprobs, std::vector<std::int64_t> tokens,
                                  double wanted) {
  const auto size = static_cast<std::int64_t>(tokens.size());
  double mass = 0;
  std::int64_t at = 0;
  for (std::int64_t sorted = 0; at < size && mass < wanted; ++at) {
    if (at == sorted) {
      const std::int64_t until = std::min(size, std::max(kFirstSort, 2 * sorted));
      std::partial_sort(tokens.begin() + sorted, tokens.begin() + until, tokens.end(),
                        Likelier<T>{logprobs});
      sorted = until;
    }
    mass += std::exp(static_cast<double>(logprobs[tokens[static_cast<std::size_t>(at)]]));
  }
  tokens.resize(static_cast<std::size_t>(at));
  return tokens;
}

/// The first token at which the running sum of probabilities, in double, passes `u` times all.
template <class T, class TokenAt>
std::int64_t invert(const T* logprobs, std::int64_t count, TokenAt token_at, double mass,
                    double u) {
  double sum = 0;
  std::int64_t last = -1;
  for (std::int64_t i = 0; i < count; ++i) {
    const double p = std::exp(static_cast<double>(logprobs[token_at(i)]));
    if (p > 0) last = token_at(i);  // Rounding may leave the sum just below u.
    sum += p;
    if (sum > u * mass) return token_at(i);
  }
  return last;
}

}  // namespace

TokenPicker::TokenPicker(const SamplingParams& params)
    : temperature_(params.temperature), top_k_(params.top_k), top_p_(params.top_p) {}

bool TokenPicker::greedy() const { return temperature_ < kZeroTemperature; }

at::Tensor TokenPicker::logprobs(const at::Tensor& logits) const {
  const bool scaled = !greedy() && temperature_ != 1.0;
  return at::_log_softmax(scaled ? at::div(logits, temperature_) : logits, 1, false);
}

template <class T>
std::int64_t TokenPicker::pick(const T* logprobs, std::int64_t vocab, double u) const {
  for (std::int64_t i = 0; i < vocab; ++i) {
    if (std::isnan(logprobs[i])) return -1;
  }
  if (greedy()) return std::max_element(logprobs, logprobs + vocab) - logprobs;
  const bool top_k = top_k_ > 0 && top_k_ < vocab;
  if (!top_k && top_p_ >= 1) {
    return invert(
        logprobs, vocab, [](std::int64_t i) { return i; }, 1.0, u);
  }
  std::vector<std::int64_t> tokens;
  if (top_k) {
    tokens = likeliest(logprobs, vocab, top_k_);
  } else {
    tokens.resize(static_cast<std::size_t>(vocab));
    std::iota(tokens.begin(), tokens.end(), std::int64_t{0});
  }
  if (top_p_ < 1) {
    const double mass = mass_of(logprobs, tokens);
    tokens = nucleus(logprobs, std::move(tokens), top_p_ * mass);
  }
  return invert(
      logprobs, static_cast<std::int64_t>(tokens.size()),
      [&tokens](std::int64_t i) { return tokens[static_cast<std::size_t>(i)]; },
      mass_of(logprobs, tokens), u);
}

template <class T>
std::vector<std::int64_t> likeliest(const T* logprobs, std::int64_t vocab, std::int64_t count) {
  std::vector<std::int64_t> tokens(static_cast<std::size_t>(vocab));
  std::iota(tokens.begin(), tokens.end(), std::int64_t{0});
  const std::int64_t kept = std::min(count, vocab);
  std::partial_sort(tokens.begin(), tokens.begin() + kept, tokens.end(), Likelier<T>{logprobs});
  tokens.resize(static_cast<std::size_t>(kept));
  return tokens;
}

template std::int64_t TokenPicker::pick(const float*, std::int64_t, double) const;
template std::int64_t TokenPicker::pick(const double*, std::int64_t, double) const;
template std::vector<std::int64_t> likeliest(const float*, std::int64_t, std::int64_t);
template std::vector<std::int64_t> likeliest(const double*, std::int64_t, std::int64_t);

}  // namespace tinkex::torch_ext::local
