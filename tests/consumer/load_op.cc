// Loads the op library of its first argument as any LibTorch program would, and calls its op.

#include <ATen/core/dispatch/Dispatcher.h>
#include <dlfcn.h>
#include <torch/types.h>

#include <exception>
#include <iostream>
#include <string>

namespace {

torch::Tensor surprise(const torch::Tensor& tokens, const std::string& base_model) {
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("stranger::surprise", "");
  torch::jit::Stack stack{tokens, base_model};
  op.callBoxed(stack);
  return stack.at(0).toTensor();
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: load_op LIBRARY.so\n";
    return 2;
  }
  if (dlopen(argv[1], RTLD_NOW) == nullptr) {
    std::cerr << dlerror() << "\n";
    return 1;
  }
  const torch::Tensor nats = surprise(torch::tensor({104, 101, 108, 108, 111}), "tinkex/nano");
  std::cout << "surprise of " << nats.numel() << " tokens: " << nats.mean().item<double>() << "\n";
  try {
    surprise(torch::tensor({104, 101}), "no/such-model");
    return 1;
  } catch (const std::exception& error) {
    std::cout << "refused: " << std::string(error.what()).substr(0, 200) << "\n";
  }
  return nats.numel() == 4 && nats.isfinite().all().item<bool>() ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
