#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace tinkex::torch_ext::local {

/// Memory for the frozen weights of a model. Decoding reads all of it for each token, in order, so
/// it is asked for in huge pages: less of the time goes to the translation of addresses.
///
/// Threads: one at a time. The tensors keep their memory, whatever becomes of the arena.
class WeightArena {
 public:
  WeightArena();

  /// An uninitialised tensor, contiguous and aligned to 64 bytes. Throws std::bad_alloc.
  at::Tensor empty(const std::vector<std::int64_t>& shape, at::ScalarType dtype);

  /// Why the system gives no huge pages; empty: it was asked for them and agreed.
  const std::string& why_not_huge() const { return why_not_huge_; }

 private:
  struct Block;

  std::shared_ptr<Block> make_block(std::size_t bytes);
  static at::Tensor tensor_in(const std::shared_ptr<Block>& block, std::size_t place,
                              const std::vector<std::int64_t>& shape, at::ScalarType dtype);

  std::shared_ptr<Block> block_;  ///< Where small tensors go next. May be null.
  std::size_t used_ = 0;          ///< Bytes of it.
  std::string why_not_huge_;
};

/// Why no program gets huge pages by asking for them, by the text of
/// /sys/kernel/mm/transparent_hugepage/enabled; empty: it may.
std::string why_not_huge(const std::string& enabled);

}  // namespace tinkex::torch_ext::local
