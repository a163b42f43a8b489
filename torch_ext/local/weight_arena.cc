#include "torch_ext/local/weight_arena.h"

#include <ATen/ops/from_blob.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <new>
#include <utility>

namespace tinkex::torch_ext::local {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
/// Little enough to waste where a model ends, and many huge pages.
constexpr std::size_t kBlockBytes = 8 * kHugePage;
constexpr std::size_t kAlignment = 64;
constexpr char kEnabled[] = "/sys/kernel/mm/transparent_hugepage/enabled";

std::size_t round_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

struct WeightArena::Block {
  explicit Block(std::size_t bytes)
      : size(round_up(bytes, kHugePage)), memory(std::aligned_alloc(kHugePage, size)) {
    if (memory == nullptr) throw std::bad_alloc();
  }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() { std::free(memory); }

  const std::size_t size;
  void* const memory;
};

std::string why_not_huge(const std::string& enabled) {
  if (enabled.empty()) return "this system has none (no " + std::string(kEnabled) + ")";
  if (enabled.find("[never]") == std::string::npos) return {};
  return std::string(kEnabled) + " is never";
}

WeightArena::WeightArena() {
  std::ifstream file(kEnabled);
  why_not_huge_ = local::why_not_huge({std::istreambuf_iterator<char>(file), {}});
}

at::Tensor WeightArena::empty(const std::vector<std::int64_t>& shape, at::ScalarType dtype) {
  std::size_t bytes = c10::elementSize(dtype);
  for (const std::int64_t size : shape) bytes *= static_cast<std::size_t>(size);
  bytes = round_up(bytes, kAlignment);
  // A large one has memory of its own, so that small ones before and after it share theirs.
  if (bytes >= kBlockBytes) return tensor_in(make_block(bytes), 0, shape, dtype);
  if (!block_ || block_->size - used_ < bytes) {
    block_ = make_block(kBlockBytes);
    used_ = 0;
  }
  const std::size_t place = std::exchange(used_, used_ + bytes);
  return tensor_in(block_, place, shape, dtype);
}

std::shared_ptr<WeightArena::Block> WeightArena::make_block(std::size_t bytes) {
  auto block = std::make_shared<Block>(bytes);
  if (why_not_huge_.empty() && ::madvise(block->memory, block->size, MADV_HUGEPAGE) != 0) {
    why_not_huge_ = std::string("madvise: ") + std::strerror(errno);
  }
  return block;
}

at::Tensor WeightArena::tensor_in(const std::shared_ptr<Block>& block, std::size_t place,
                                  const std::vector<std::int64_t>& shape, at::ScalarType dtype) {
  return at::from_blob(
      static_cast<std::byte*>(block->memory) + place, shape, [block](void*) {},
      at::TensorOptions(dtype));
}

}  // namespace tinkex::torch_ext::local
