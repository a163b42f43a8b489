#include "torch_ext/seeded_sampler.h"

#include <ATen/ops/tensor.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <string>

#include "tinkex/error.h"
#include "torch_ext/seeded_order.h"

namespace tinkex::torch_ext {
namespace {

constexpr char kKey[] = "tinkex_seeded_sampler";
constexpr std::int64_t kFields = 4;  ///< Size, seed, epoch, index.

}  // namespace

void SeededSampler::reset(Optional<std::size_t> new_size) {
  if (used_) next_epoch();
  if (!new_size || *new_size == size_) return;
  size_ = *new_size;
  index_ = 0;
  order_.clear();
}

Optional<std::vector<std::size_t>> SeededSampler::next(std::size_t batch_size) {
  used_ = true;
  if (index_ == size_) return {};
  if (order_.empty()) order_ = seeded_order(size_, seed_, epoch_);
  const auto begin = order_.begin() + static_cast<std::ptrdiff_t>(index_);
  const std::size_t count = std::min(batch_size, size_ - index_);
  index_ += count;
  return std::vector<std::size_t>(begin, begin + static_cast<std::ptrdiff_t>(count));
}

void SeededSampler::skip_to(std::size_t index) {
  if (index > size_) {
    throw invalid_argument("index is " + std::to_string(index) + ", expected at most " +
                           std::to_string(size_) +
                           ", the size of the sampler; next_epoch() begins another epoch");
  }
  index_ = index;
  used_ = false;
}

void SeededSampler::next_epoch() {
  ++epoch_;
  index_ = 0;
  used_ = false;
  order_.clear();
}

void SeededSampler::save(torch::serialize::OutputArchive& archive) const {
  const std::vector<std::int64_t> fields{
      static_cast<std::int64_t>(size_), static_cast<std::int64_t>(seed_),
      static_cast<std::int64_t>(epoch_), static_cast<std::int64_t>(index_)};
  archive.write(kKey, at::tensor(fields), /*is_buffer=*/true);
}

void SeededSampler::load(torch::serialize::InputArchive& archive) {
  at::Tensor saved;
  if (!archive.try_read(kKey, saved, /*is_buffer=*/true) || saved.scalar_type() != at::kLong ||
      saved.dim() != 1 || saved.numel() != kFields) {
    throw invalid_argument(
        "the archive holds no SeededSampler; give one that SeededSampler::save wrote to");
  }
  saved = saved.contiguous();
  const auto* fields = saved.data_ptr<std::int64_t>();
  const auto saved_size = static_cast<std::uint64_t>(fields[0]);
  const auto saved_index = static_cast<std::uint64_t>(fields[3]);
  if (saved_size != size_) {
    throw invalid_argument("the sampler was saved for " + std::to_string(saved_size) +
                           " examples, but this one is for " + std::to_string(size_) +
                           "; give the data and options of the run that saved it");
  }
  if (saved_index > size_) {
    throw invalid_argument("the saved sampler is damaged: its index is " +
                           std::to_string(saved_index) + ", expected at most " +
                           std::to_string(size_));
  }
  seed_ = static_cast<std::uint64_t>(fields[1]);
  epoch_ = static_cast<std::uint64_t>(fields[2]);
  order_.clear();
  skip_to(static_cast<std::size_t>(saved_index));
}

}  // namespace tinkex::torch_ext
