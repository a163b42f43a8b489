#include "torch_ext/ops/tensor_ops.h"

#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <string>
#include <vector>

#include "tinkex/tokenizer.h"
#include "torch_ext/error_bridge.h"
#include "torch_ext/tensor_convert.h"

namespace tinkex::torch_ext {
namespace {

at::Tensor encode_text(const std::string& text) {
  return to_tensor(TensorData::from(ByteTokenizer().encode(text)));
}

std::string decode_text(const at::Tensor& tokens) {
  const TensorData data = value_or_throw(borrow(tokens, "tokens"));
  if (is_floating_point(data.dtype()) || data.shape().size() != 1) {
    throw_error(invalid_argument("tokens has dtype " + std::string(to_string(data.dtype())) +
                                 " and " + std::to_string(data.shape().size()) +
                                 " dimensions, expected one dimension of integers"));
  }
  // torch strings are UTF-8 in Python; a byte sequence that is not gives an error there.
  return ByteTokenizer().decode(data.to_ints());
}

}  // namespace

void register_tensor_kernels(torch::Library& library) {
  library.impl("encode_text", TORCH_FN(encode_text));
  library.impl("decode_text", TORCH_FN(decode_text));
}

}  // namespace tinkex::torch_ext
