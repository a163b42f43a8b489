#include "tests/fuzz/allocation_meter.h"

#include <malloc.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace tinkex::fuzz {
namespace {

// May be negative: a thread may free what another one took.
thread_local std::int64_t held = 0;
thread_local std::int64_t most = 0;
thread_local std::int64_t taken = 0;

void* take(std::size_t size) noexcept {
  void* const block = std::malloc(std::max<std::size_t>(size, 1));
  const auto size_taken = static_cast<std::int64_t>(malloc_usable_size(block));
  held += size_taken;
  taken += size_taken;
  most = std::max(most, held);
  return block;
}

void* take_or_throw(std::size_t size) {
  void* const block = take(size);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

void give_back(void* block) noexcept {
  held -= static_cast<std::int64_t>(malloc_usable_size(block));
  std::free(block);
}

}  // namespace

AllocationMeter::AllocationMeter() noexcept { held = most = taken = 0; }

std::size_t AllocationMeter::peak() const noexcept { return static_cast<std::size_t>(most); }

std::size_t AllocationMeter::total() const noexcept { return static_cast<std::size_t>(taken); }

}  // namespace tinkex::fuzz

void* operator new(std::size_t size) { return tinkex::fuzz::take_or_throw(size); }
void* operator new[](std::size_t size) { return tinkex::fuzz::take_or_throw(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return tinkex::fuzz::take(size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return tinkex::fuzz::take(size);
}
void operator delete(void* block) noexcept { tinkex::fuzz::give_back(block); }
void operator delete[](void* block) noexcept { tinkex::fuzz::give_back(block); }
void operator delete(void* block, std::size_t) noexcept { tinkex::fuzz::give_back(block); }
void operator delete[](void* block, std::size_t) noexcept { tinkex::fuzz::give_back(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept {
  tinkex::fuzz::give_back(block);
}
void operator delete[](void* block, const std::nothrow_t&) noexcept {
  tinkex::fuzz::give_back(block);
}
