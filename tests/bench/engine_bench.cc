// Speed of the numeric engine on the built-in models, or on those whose paths are given: training
// tokens and sampled tokens per second.

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "torch_ext/local/pretrained.h"
#include "torch_ext/local/sampler.h"
#include "torch_ext/local/training_run.h"

namespace {

using tinkex::Datum;
using tinkex::TensorData;
namespace local = tinkex::torch_ext::local;

/// Seconds of the fastest of up to `repeats` calls, fewer once they took two seconds.
template <class F>
double fastest(int repeats, F&& f) {
  double best = 1e9;
  double total = 0;
  for (int i = 0; i < repeats && total < 2; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    f();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    best = std::min(best, took.count());
    total += took.count();
  }
  return best;
}

template <class T>
T need(tinkex::Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", result.error().what());
    std::exit(1);
  }
  return std::move(result).value();
}

std::vector<Datum> batch_of(int count, int length) {
  std::vector<Datum> data;
  for (int i = 0; i < count; ++i) {
    std::vector<std::int64_t> tokens, targets;
    for (int t = 0; t < length; ++t) {
      tokens.push_back(97 + (i * 7 + t * 3) % 26);
      targets.push_back(97 + (i * 7 + (t + 1) * 3) % 26);
    }
    Datum datum;
    datum.model_input = tinkex::ModelInput::from_tokens(std::move(tokens));
    datum.loss_fn_inputs.emplace_back("target_tokens", TensorData::from(std::move(targets)));
    data.push_back(std::move(datum));
  }
  return data;
}

void bench_training(const std::shared_ptr<const local::BaseModel>& model, int count, int length) {
  const auto run = need(local::TrainingRun::create(model, {}));
  const std::vector<Datum> data = batch_of(count, length);
  const auto pass = [&](bool forward_only) {
    need(run->forward_backward(data, "cross_entropy", {}, forward_only));
  };
  const double forward = fastest(10, [&] { pass(true); });
  const double both = fastest(10, [&] { pass(false); });
  const double step = fastest(10, [&] {
    pass(false);
    need(run->optim_step({}));
  });
  const double tokens = count * length;
  std::printf(
      "%s train %3d x %4d: forward %.0f tok/s, forward_backward %.0f tok/s (%.1f ms), "
      "optim_step %.2f ms\n",
      model->config().name.c_str(), count, length, tokens / forward, tokens / both, both * 1e3,
      (step - both) * 1e3);
}

void bench_sampling(const std::shared_ptr<const local::BaseModel>& model, int samples, int tokens) {
  const auto run = need(local::TrainingRun::create(model, {}));
  const auto adapter = run->snapshot();
  local::SampleRequest request;
  request.prompt = tinkex::ModelInput::from_tokens(std::vector<std::int64_t>(16, 97));
  request.num_samples = samples;
  request.params.max_tokens = tokens;
  request.params.seed = 1;
  request.params.stop.emplace();
  const double took = fastest(5, [&] { need(local::sample(model, adapter, request, nullptr)); });
  std::printf("%s sample %3d x %4d: %.0f tok/s (%.3f ms per step)\n", model->config().name.c_str(),
              samples, tokens, samples * tokens / took, took * 1e3 / tokens);
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  at::init_num_threads();
  std::printf("threads %d\n", at::get_num_threads());
  std::vector<std::shared_ptr<const local::BaseModel>> models;
  for (int i = 1; i < argc; ++i) models.push_back(need(local::load_pretrained(argv[i])));
  if (argc == 1) {
    for (const std::string& name : local::built_in_model_names()) {
      models.push_back(need(local::built_in_model(name)));
    }
  }
  for (const auto& model : models) {
    const std::string& name = model->config().name;
    std::printf("%s: %lld parameters\n", name.c_str(),
                static_cast<long long>(model->parameter_count()));
    for (const auto& [count, length] : {std::pair(1, 16), std::pair(64, 20), std::pair(8, 128)}) {
      bench_training(model, count, length);
    }
    for (const int samples : {1, 16, 64}) bench_sampling(model, samples, 64);
  }
  return 0;
}
