#pragma once

// Memory for what a pass computes and drops again. The C library gives large blocks back to the
// system at once, which clears every page anew for the next one: without this, a tenth of the time
// of a training step.

#include <ATen/core/Tensor.h>

#include <memory>

namespace tinkex::torch_ext::local {

/// Blocks of memory that were used and wait to be used again. Thread-safe; the memory ends with the
/// pool and the last of its tensors.
class ScratchPool {
 public:
  ScratchPool();
  ~ScratchPool();
  ScratchPool(const ScratchPool&) = delete;
  ScratchPool& operator=(const ScratchPool&) = delete;

  /// An uninitialised contiguous tensor, whose memory comes back when the last reference to it is
  /// dropped, on any thread.
  at::Tensor empty(at::IntArrayRef shape, at::ScalarType dtype);

  /// Gives the memory that waits back to the system: before work whose blocks are larger, for which
  /// it would only be kept beside them.
  void drop_free();
  /// Bytes that wait. For tests.
  std::size_t free_bytes() const;

 private:
  struct Blocks;
  std::shared_ptr<Blocks> blocks_;
};

/// Makes scratch_empty() on this thread take memory from `pool`, as long as it exists.
class ScratchScope {
 public:
  explicit ScratchScope(ScratchPool& pool);
  ~ScratchScope();
  ScratchScope(const ScratchScope&) = delete;
  ScratchScope& operator=(const ScratchScope&) = delete;

 private:
  ScratchPool* const outer_;
};

/// An uninitialised contiguous tensor of the type of `like`, from this thread's pool if there is
/// one.
at::Tensor scratch_empty(at::IntArrayRef shape, const at::Tensor& like);
/// The same, filled with zeros.
at::Tensor scratch_zeros(at::IntArrayRef shape, const at::Tensor& like);

}  // namespace tinkex::torch_ext::local
