// Which tensors are copied from a device, without a device.

#include "torch_ext/host_copies.h"

#include <c10/core/Storage.h>
#include <c10/core/TensorImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "torch_ext/tensor_convert.h"

namespace tinkex::torch_ext {
namespace {

using testing::StartsWith;

/// Three int64 on a CUDA device that need not be there: whoever touches the elements fails.
at::Tensor on_cuda(std::size_t storage_bytes) {
  c10::Storage storage(c10::Storage::use_byte_size_t(), storage_bytes,
                       c10::DataPtr(nullptr, c10::Device(c10::kCUDA, 0)), /*allocator=*/nullptr,
                       /*resizable=*/false);
  at::Tensor tensor = at::detail::make_tensor<c10::TensorImpl>(
      std::move(storage), c10::DispatchKeySet(c10::DispatchKey::CUDA),
      caffe2::TypeMeta::Make<std::int64_t>());
  tensor.unsafeGetTensorImpl()->set_sizes_contiguous({3});
  return tensor;
}

TEST(HostCopiesTest, ATensorWhoseStorageWasFreedIsNotCopiedButRefusedByName) {
  EXPECT_TRUE(HostCopies::needs(on_cuda(24)));
  for (const std::size_t left : {0u, 8u, 23u}) {
    const std::vector<at::Tensor> freed{on_cuda(left)};
    EXPECT_FALSE(HostCopies::needs_any(freed)) << left;
    HostCopies copies;
    const at::Tensor same = copies.start(freed.front());
    const HostTensors list(freed, copies);
    copies.finish();
    EXPECT_TRUE(same.is_same(freed.front())) << left;
    const Result<TensorData> read = borrow(list.get().front(), {"tokens", 0});
    ASSERT_FALSE(read.ok()) << left;
    EXPECT_THAT(
        read.error().message(),
        StartsWith("tokens[0] needs 24 bytes of a storage that has " + std::to_string(left)));
  }
}

}  // namespace
}  // namespace tinkex::torch_ext
