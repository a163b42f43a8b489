// Loads a module that Python saved, runs it with the ops that are linked into this program, and
// prints what script_module.py prints.
//
// usage: run_module MODULE.pt

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <cstdio>
#include <exception>

namespace {

/// 1 if the loss did not fall.
int print_run(torch::jit::Module& module) {
  const c10::IValue result = module.forward({"the quick brown fox", 4});
  const auto& parts = result.toTupleRef().elements();
  const at::Tensor losses = parts[0].toTensor();
  for (std::int64_t i = 0; i < losses.numel(); ++i) {
    std::printf("loss %.9g\n", losses[i].item<double>());
  }
  std::printf("sample");
  const at::Tensor sample = parts[1].toTensor();
  for (std::int64_t i = 0; i < sample.numel(); ++i) {
    std::printf(" %lld", static_cast<long long>(sample[i].item<std::int64_t>()));
  }
  std::printf("\n");
  return losses[-1].item<double>() < losses[0].item<double>() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: run_module MODULE.pt\n");
    return 2;
  }
  try {
    torch::jit::Module module = torch::jit::load(argv[1]);
    return print_run(module);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "run_module: %s\n", error.what());
    return 1;
  }
}
