#include "torch_ext/tensor_convert.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/imag.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sparse_csr_tensor.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/version.h>

#include <cstring>
#include <limits>

namespace tinkex::torch_ext {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

struct DTypeCase {
  at::ScalarType torch;
  DType tinkex;
};

const DTypeCase kDTypes[] = {
    {at::kFloat, DType::kFloat32},     {at::kDouble, DType::kFloat64},
    {at::kBFloat16, DType::kBFloat16}, {at::kHalf, DType::kFloat16},
    {at::kLong, DType::kInt64},        {at::kInt, DType::kInt32},
    {at::kShort, DType::kInt16},       {at::kChar, DType::kInt8},
    {at::kByte, DType::kUInt8},        {at::kBool, DType::kBool},
};

/// 0, 1, 2, ... in a dtype (bool: false, true, true, ...).
at::Tensor counting(std::int64_t count, at::ScalarType type) {
  return at::arange(count, at::kLong).to(type);
}

bool same_bytes(const TensorData& data, const at::Tensor& tensor) {
  const at::Tensor contiguous = tensor.contiguous();
  return data.size_bytes() == contiguous.nbytes() &&
         std::memcmp(data.data(), contiguous.data_ptr(), data.size_bytes()) == 0;
}

std::string error_of(const Result<TensorData>& result) {
  return result ? "no error" : result.error().message();
}

class EveryDType : public testing::TestWithParam<DTypeCase> {};

TEST_P(EveryDType, ContiguousTensorIsReadInPlace) {
  const at::Tensor tensor = counting(6, GetParam().torch).view({2, 3});
  const TensorData data = borrow(tensor, "x").value();
  EXPECT_EQ(data.dtype(), GetParam().tinkex);
  EXPECT_THAT(data.shape(), ElementsAre(2, 3));
  EXPECT_TRUE(data.shape() == tensor.sizes());
  EXPECT_EQ(static_cast<const void*>(data.data()), tensor.data_ptr());
  EXPECT_TRUE(same_bytes(data, tensor));
}

TEST_P(EveryDType, TransposedTensorIsCopiedRowMajor) {
  const at::Tensor tensor = counting(6, GetParam().torch).view({2, 3}).t();
  const TensorData data = borrow(tensor, "x").value();
  EXPECT_THAT(data.shape(), ElementsAre(3, 2));
  EXPECT_NE(static_cast<const void*>(data.data()), tensor.data_ptr());
  EXPECT_TRUE(same_bytes(data, tensor));
}

TEST_P(EveryDType, StridedSliceIsCopied) {
  const at::Tensor tensor = counting(10, GetParam().torch).slice(0, 1, 10, 3);
  const TensorData data = borrow(tensor, "x").value();
  EXPECT_THAT(data.shape(), ElementsAre(3));
  EXPECT_TRUE(same_bytes(data, tensor));
}

TEST_P(EveryDType, OffsetSliceIsReadInPlace) {
  const at::Tensor tensor = counting(10, GetParam().torch).slice(0, 4, 8);
  const TensorData data = borrow(tensor, "x").value();
  EXPECT_EQ(static_cast<const void*>(data.data()), tensor.data_ptr());
  EXPECT_TRUE(same_bytes(data, tensor));
}

TEST_P(EveryDType, ExpandedTensorIsCopied) {
  const at::Tensor tensor = counting(2, GetParam().torch).slice(0, 1, 2).expand({4});
  const TensorData data = borrow(tensor, "x").value();
  EXPECT_EQ(data.size(), 4u);
  EXPECT_TRUE(same_bytes(data, tensor));
}

TEST_P(EveryDType, ComesBackEqual) {
  const at::Tensor tensor = counting(6, GetParam().torch).view({3, 2});
  const at::Tensor back = to_tensor(borrow(tensor, "x").value());
  EXPECT_EQ(back.scalar_type(), GetParam().torch);
  EXPECT_TRUE(at::equal(back, tensor));
  EXPECT_NE(back.data_ptr(), tensor.data_ptr());
}

INSTANTIATE_TEST_SUITE_P(All, EveryDType, testing::ValuesIn(kDTypes), [](const auto& info) {
  return std::string(to_string(info.param.tinkex));
});

TEST(TensorConvertTest, ScalarAndEmptyTensorsKeepTheirShape) {
  const at::Tensor scalar = at::full({}, 2.5);
  EXPECT_TRUE(borrow(scalar, "x").value().shape().empty());
  EXPECT_EQ(borrow(scalar, "x").value().size(), 1u);
  const TensorData empty = share(at::empty({0, 4}), "x").value();
  EXPECT_THAT(empty.shape(), ElementsAre(0, 4));
  EXPECT_EQ(empty.size(), 0u);
  EXPECT_TRUE(at::equal(to_tensor(empty), at::empty({0, 4})));
}

TEST(TensorConvertTest, RequiresGradIsIgnored) {
  const at::Tensor tensor = at::randn({3}).requires_grad_();
  EXPECT_TRUE(same_bytes(borrow(tensor, "x").value(), tensor.detach()));
  const at::Tensor strided = at::randn({3, 2}).requires_grad_().t();
  EXPECT_TRUE(same_bytes(borrow(strided, "x").value(), strided.detach()));
}

TEST(TensorConvertTest, NegatedViewIsMaterialised) {
  const at::Tensor complex = at::randn({4}, at::kComplexFloat);
  const at::Tensor negated = at::imag(complex.conj());
  ASSERT_TRUE(negated.is_neg());
  EXPECT_TRUE(same_bytes(borrow(negated, "x").value(), negated.resolve_neg()));
}

TEST(TensorConvertTest, BorrowHoldsNoReferenceToTheCallersTensor) {
  const at::Tensor tensor = at::randn({3});
  const std::size_t before = tensor.use_count();
  const std::size_t storage_before = tensor.storage().use_count();
  const Result<TensorData> data = borrow(tensor, "x");
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(tensor.use_count(), before);
  EXPECT_EQ(tensor.storage().use_count(), storage_before);
}

TEST(TensorConvertTest, SharedDataOutlivesTheTensorWithoutHoldingIt) {
  at::Tensor tensor = at::arange(4, at::kFloat);
  const void* bytes = tensor.data_ptr();
  const std::size_t before = tensor.use_count();
  const TensorData data = share(tensor, "x").value();
  EXPECT_EQ(tensor.use_count(), before);  // only the storage is shared
  tensor.reset();
  EXPECT_EQ(static_cast<const void*>(data.data()), bytes);
  EXPECT_THAT(data.to_floats(), ElementsAre(0, 1, 2, 3));
}

at::Tensor sparse_example() {  // [[0, 5, 0], [0, 0, 0], [7, 0, 8]]
  at::Tensor dense = at::zeros({3, 3});
  dense.index_put_({at::tensor({0, 2, 2}, at::kLong), at::tensor({1, 0, 2}, at::kLong)},
                   at::tensor({5.f, 7.f, 8.f}));
  return dense.to_sparse_csr();
}

TEST(TensorConvertTest, SparseCsrKeepsItsIndices) {
  const at::Tensor tensor = sparse_example();
  const TensorData data = borrow(tensor, "x").value();
  EXPECT_TRUE(data.is_sparse());
  EXPECT_THAT(data.shape(), ElementsAre(3, 3));
  EXPECT_THAT(data.to_floats(), ElementsAre(5, 7, 8));
  EXPECT_THAT(data.crow_indices(), ElementsAre(0, 1, 1, 3));
  EXPECT_THAT(data.col_indices(), ElementsAre(1, 0, 2));
}

TEST(TensorConvertTest, SparseCsrComesBackEqual) {
  const at::Tensor tensor = sparse_example();
  const at::Tensor back = to_tensor(borrow(tensor, "x").value());
  EXPECT_EQ(back.layout(), c10::kSparseCsr);
  EXPECT_TRUE(at::equal(back.to_dense(), tensor.to_dense()));
}

TEST(TensorConvertTest, SparseCsrWithInt32IndicesIsWidened) {
  const at::Tensor tensor = sparse_example();
  const at::Tensor narrow =
      at::sparse_csr_tensor(tensor.crow_indices().to(at::kInt), tensor.col_indices().to(at::kInt),
                            tensor.values(), tensor.sizes(), tensor.options());
  EXPECT_THAT(borrow(narrow, "x").value().crow_indices(), ElementsAre(0, 1, 1, 3));
}

TEST(TensorConvertTest, SparseCsrWithAColumnThatThereIsNotIsNamed) {
  const at::Tensor tensor = sparse_example();
  tensor.col_indices().fill_(7);  // which PyTorch does not check
  const Result<TensorData> result = borrow(tensor, {"weights", 3});
  EXPECT_EQ(error_of(result), "weights[3]: sparse CSR tensor: column 7 is outside [0, 3)");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kInvalidArgument);
}

/// As FSDP frees parameters: the tensor keeps its shape, not its memory.
void resize_storage(const at::Tensor& tensor, std::size_t bytes) {
  tensor.storage().unsafeGetStorageImpl()->set_nbytes(bytes);
}

TEST(TensorConvertTest, SparseCsrOfWhichAPartLacksItsMemoryIsRefused) {
  const auto refusal = [](auto part, std::size_t bytes) {
    const at::Tensor tensor = at::sparse_csr_tensor(
        at::tensor({0, 1, 1, 3}, at::kLong), at::tensor({1, 0, 2}, at::kLong),
        at::tensor({5.F, 7.F, 8.F}), {3, 3}, at::TensorOptions(at::kFloat).layout(c10::kSparseCsr));
    resize_storage(part(tensor), bytes);
    return error_of(borrow(tensor, {"weights", 3}));
  };
  EXPECT_EQ(refusal([](const at::Tensor& t) { return t.values(); }, 4),
            "weights[3].values() needs 12 bytes of a storage that has 4: it was resized or freed");
  EXPECT_EQ(refusal([](const at::Tensor& t) { return t.crow_indices(); }, 0),
            "weights[3].crow_indices() needs 32 bytes of a storage that has 0: it was resized or "
            "freed");
  EXPECT_EQ(refusal([](const at::Tensor& t) { return t.col_indices(); }, 16),
            "weights[3].col_indices() needs 24 bytes of a storage that has 16: it was resized or "
            "freed");
}

TEST(TensorConvertTest, ErrorsBeginWithTheNameAndSayWhatIsExpected) {
  EXPECT_THAT(error_of(share(at::Tensor(), "weights[3]")),
              StartsWith("weights[3] is undefined, as a default-constructed tensor is; give"));
  EXPECT_THAT(error_of(share(at::zeros({2}, at::kComplexFloat), "weights[3]")),
              testing::AllOf(StartsWith("weights[3] has dtype ComplexFloat, expected"),
                             HasSubstr("float32"), HasSubstr(".to(")));
  EXPECT_THAT(error_of(share(at::zeros({2, 2}).to_sparse(), "w")),
              testing::AllOf(StartsWith("w has a layout"), HasSubstr("to_dense()")));
  EXPECT_THAT(error_of(share(at::zeros({2, 2, 2}).to_sparse_csr(), "w")),
              StartsWith("w is sparse CSR with 3 dimensions, expected 2"));
}

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 3)
TEST(TensorConvertTest, WideUnsignedIntegersAreCopiedAsInt64) {
  for (const at::ScalarType type : {at::kUInt16, at::kUInt32, at::kUInt64}) {
    const at::Tensor every_other = counting(6, type).view({3, 2}).select(1, 1);
    const TensorData data = borrow(every_other, "x").value();
    EXPECT_EQ(data.dtype(), DType::kInt64);
    EXPECT_THAT(data.to_ints(), ElementsAre(1, 3, 5));
  }
  const at::Tensor largest = at::full({2}, -1, at::kLong).view(at::kUInt64);
  EXPECT_THAT(error_of(borrow(largest, "x")), StartsWith("x has an element beyond 2^63 - 1"));
  EXPECT_THAT(error_of(borrow(largest, "x")), HasSubstr("; replace it, or "));
}
#endif

TEST(TensorConvertTest, MetaTensorIsRefused) {
  const at::Tensor meta = at::empty({2}, at::TensorOptions(at::kFloat).device(at::kMeta));
  const Result<TensorData> result = borrow(meta, "tokens[0]");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(error_of(result), StartsWith("tokens[0] holds no data"));
}

}  // namespace
}  // namespace tinkex::torch_ext
