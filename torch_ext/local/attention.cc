#include "torch_ext/local/attention.h"

#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/cat.h>

#include <tuple>

#include "torch_ext/local/scratch.h"

namespace tinkex::torch_ext::local {
namespace {

/// (batch, heads, length, head_dim) to rows, without a copy where the memory already is in rows.
at::Tensor to_rows(const at::Tensor& heads) {
  return heads.transpose(1, 2).reshape({heads.size(0) * heads.size(2), -1});
}

}  // namespace

HeadViews HeadViews::of(const at::Tensor& rows, const ModelConfig& config, std::int64_t length) {
  const std::int64_t heads = config.num_attention_heads;
  const std::int64_t kv_heads = config.num_key_value_heads;
  const at::Tensor all =
      rows.view({-1, length, heads + 2 * kv_heads, config.head_dim}).transpose(1, 2);
  return {all.narrow(1, 0, heads), all.narrow(1, heads, kv_heads),
          all.narrow(1, heads + kv_heads, kv_heads)};
}

at::Tensor attention(const HeadViews& heads, AttentionRecord& record) {
  std::tie(record.out, record.logsumexp) = at::_scaled_dot_product_flash_attention_for_cpu(
      heads.q, heads.k, heads.v, 0.0, /*is_causal=*/true);
  return to_rows(record.out);
}

at::Tensor attention_backward(const at::Tensor& dy, const HeadViews& heads,
                              const AttentionRecord& record) {
  const at::Tensor& q = heads.q;
  const at::Tensor d_out = dy.view({q.size(0), q.size(2), q.size(1), q.size(3)}).transpose(1, 2);
  const auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      d_out, q, heads.k, heads.v, record.out, record.logsumexp, 0.0, /*is_causal=*/true);
  at::Tensor d_rows =
      scratch_empty({dy.size(0), dy.size(1) * (q.size(1) + 2 * dk.size(1)) / q.size(1)}, dy);
  return at::cat_out(d_rows, {to_rows(dq), to_rows(dk), to_rows(dv)}, 1);
}

}  // namespace tinkex::torch_ext::local
