#include "torch_ext/local/scratch.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <sys/mman.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <utility>

namespace tinkex::torch_ext::local {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
/// What the C library keeps by itself.
constexpr std::size_t kSmallest = std::size_t{64} << 10;
/// A block may be larger than what is asked for by one part in so many.
constexpr std::size_t kSlackDivisor = 4;

thread_local ScratchPool* current = nullptr;

std::size_t round_up(std::size_t bytes) {
  const std::size_t unit = bytes >= kHugePage ? kHugePage : kPage;
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

struct ScratchPool::Blocks {
  ~Blocks() { drop_free(); }

  void drop_free() noexcept {
    const std::lock_guard lock(mutex);
    for (const auto& [size, memory] : free) std::free(memory);
    free.clear();
  }

  std::pair<std::size_t, void*> take(std::size_t bytes) {
    const std::size_t size = round_up(bytes);
    {
      const std::lock_guard lock(mutex);
      const auto found = free.lower_bound(size);
      if (found != free.end() && found->first <= size + size / kSlackDivisor) {
        const std::pair<std::size_t, void*> block = *found;
        free.erase(found);
        return block;
      }
    }
    const bool huge = size >= kHugePage;
    void* memory = std::aligned_alloc(huge ? kHugePage : kPage, size);
    if (memory == nullptr) throw std::bad_alloc();
    // Without huge pages, where there are none, it is only slower.
    if (huge) (void)::madvise(memory, size, MADV_HUGEPAGE);
    return {size, memory};
  }

  void give_back(std::size_t size, void* memory) noexcept {
    try {
      const std::lock_guard lock(mutex);
      free.emplace(size, memory);
    } catch (...) {
      std::free(memory);
    }
  }

  std::mutex mutex;
  std::multimap<std::size_t, void*> free;  ///< By size.
};

ScratchPool::ScratchPool() : blocks_(std::make_shared<Blocks>()) {}
ScratchPool::~ScratchPool() = default;

at::Tensor ScratchPool::empty(at::IntArrayRef shape, at::ScalarType dtype) {
  std::size_t bytes = c10::elementSize(dtype);
  for (const std::int64_t size : shape) bytes *= static_cast<std::size_t>(size);
  if (bytes < kSmallest) return at::empty(shape, dtype);
  const auto [size, memory] = blocks_->take(bytes);
  // Owns the block until the tensor does, should there be no memory for that.
  const std::shared_ptr<void> owner(
      memory, [blocks = blocks_, size = size](void* block) { blocks->give_back(size, block); });
  return at::from_blob(
      memory, shape, [owner](void*) {}, at::TensorOptions(dtype));
}

void ScratchPool::drop_free() { blocks_->drop_free(); }

std::size_t ScratchPool::free_bytes() const {
  const std::lock_guard lock(blocks_->mutex);
  std::size_t bytes = 0;
  for (const auto& [size, memory] : blocks_->free) bytes += size;
  return bytes;
}

ScratchScope::ScratchScope(ScratchPool& pool) : outer_(std::exchange(current, &pool)) {}
ScratchScope::~ScratchScope() { current = outer_; }

at::Tensor scratch_empty(at::IntArrayRef shape, const at::Tensor& like) {
  if (current == nullptr) return at::empty(shape, like.options());
  return current->empty(shape, like.scalar_type());
}

at::Tensor scratch_zeros(at::IntArrayRef shape, const at::Tensor& like) {
  return scratch_empty(shape, like).zero_();
}

}  // namespace tinkex::torch_ext::local
