#include "torch_ext/local/adapter.h"

#include <ATen/ops/zeros.h>

#include <cmath>
#include <utility>

#include "torch_ext/local/random.h"

namespace tinkex::torch_ext::local {
namespace {

at::Tensor view_of(const at::Tensor& flat, const LoraMatrix& matrix) {
  return flat.narrow(0, matrix.offset, matrix.rows * matrix.cols).view({matrix.rows, matrix.cols});
}

}  // namespace

std::shared_ptr<const Adapter> Adapter::random(std::shared_ptr<const LoraLayout> layout,
                                               std::uint64_t seed, at::ScalarType dtype) {
  at::Tensor flat = at::zeros({layout->size()}, dtype);
  for (const LoraMatrix& matrix : layout->matrices()) {
    if (!matrix.is_a) continue;
    const double bound = 1.0 / std::sqrt(static_cast<double>(matrix.cols));
    fill_uniform(view_of(flat, matrix), RandomStream::named(seed, matrix.name), bound);
  }
  return from_flat(std::move(layout), std::move(flat));
}

std::shared_ptr<const Adapter> Adapter::from_flat(std::shared_ptr<const LoraLayout> layout,
                                                  at::Tensor flat) {
  return std::shared_ptr<const Adapter>(new Adapter(std::move(layout), std::move(flat)));
}

at::Tensor Adapter::matrix(std::string_view name) const {
  for (const LoraMatrix& matrix : layout_->matrices()) {
    if (matrix.name == name) return view_of(flat_, matrix);
  }
  return {};
}

Status Adapter::check_fits(const BaseModel& model) const {
  const Result<std::shared_ptr<const LoraLayout>> expected =
      LoraLayout::create(model.config(), layout_->config());
  if (!expected) return expected.error();
  bool same =
      (*expected)->size() == layout_->size() && flat_.scalar_type() == model.compute_dtype();
  for (std::size_t i = 0; same && i < layout_->matrices().size(); ++i) {
    const LoraMatrix& a = layout_->matrices()[i];
    const LoraMatrix& b = (*expected)->matrices()[i];
    same = a.name == b.name && a.rows == b.rows && a.cols == b.cols;
  }
  if (same) return ok_status();
  return invalid_argument("the adapter has other shapes than base model '" + model.config().name +
                          "' needs; use it with the base model that it was trained on");
}

}  // namespace tinkex::torch_ext::local
