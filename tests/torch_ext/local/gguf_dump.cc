// Writes the tensors of a GGUF file to standard output: a line of name and number of elements,
// then the elements as float32. compare_gguf.py reads it. How long widening took goes to standard
// error.

#include <chrono>
#include <cstddef>
#include <iostream>
#include <vector>

#include "torch_ext/local/gguf.h"

namespace tinkex::torch_ext::local {
namespace {

Status dump(const char* path) {
  const auto file = GgufFile::open(path);
  if (!file) return file.error();
  std::vector<float> numbers;
  std::size_t total = 0;
  std::chrono::duration<double> took{};
  for (const GgufTensor& tensor : (*file)->tensors()) {
    numbers.resize(static_cast<std::size_t>(tensor.elements()));
    const auto begin = std::chrono::steady_clock::now();
    const Status status = (*file)->widen(tensor, numbers);
    took += std::chrono::steady_clock::now() - begin;
    if (!status) return status;
    total += numbers.size();
    std::cout << tensor.name << " " << numbers.size() << "\n";
    std::cout.write(reinterpret_cast<const char*>(numbers.data()),
                    static_cast<std::streamsize>(numbers.size() * sizeof(float)));
  }
  std::cerr << total << " elements widened in " << took.count() << " s\n";
  return ok_status();
}

}  // namespace
}  // namespace tinkex::torch_ext::local

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: gguf_dump FILE.gguf\n";
    return 2;
  }
  const tinkex::Status status = tinkex::torch_ext::local::dump(argv[1]);
  if (!status) std::cerr << status.error().what() << "\n";
  return status ? 0 : 1;
}
