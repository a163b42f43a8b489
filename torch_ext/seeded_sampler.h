#pragma once

// Which examples come next, so that a run can be repeated and resumed.

#include "torch_ext/torch_prelude.h"
// Behind it.
#include <torch/data/samplers/base.h>
#include <torch/data/samplers/serialize.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tinkex::torch_ext {

/// Every example once in each epoch, in the order of seeded_order(): the same on every machine.
///
/// A loader takes a copy and hands out batches ahead of the loop, workers or not. So the loop keeps
/// a sampler of its own, tells it what has been trained on, and saves that:
///
///   SeededSampler done(*dataset.size(), /*seed=*/7);
///   if (resuming) torch::load(done, "sampler.pt");
///   auto loader = torch::data::make_data_loader(dataset.map(Collate()), done, options);
///   for (; done.epoch() < epochs; done.next_epoch()) {
///     for (TokenBatch& batch : *loader) {
///       ...
///       done.advance(batch.size());
///       torch::save(done, "sampler.pt");
///     }
///   }
///
/// Not thread-safe; copies are independent. Misuse throws tinkex::Error (kInvalidArgument).
class SeededSampler final : public torch::data::samplers::Sampler<> {
 public:
  /// Of `size` examples; begins with the first of `epoch`.
  explicit SeededSampler(std::size_t size, std::uint64_t seed = 0, std::uint64_t epoch = 0)
      : size_(size), seed_(seed), epoch_(epoch) {}

  /// What a loader calls before each pass: goes to the next epoch if next() was called in this one;
  /// a sampler that was made, loaded or moved stays where it is. A new size begins the epoch anew.
  void reset(Optional<std::size_t> new_size = {}) override;
  /// At most `batch_size` indices; none at the end of the epoch.
  Optional<std::vector<std::size_t>> next(std::size_t batch_size) override;

  /// Goes to a place in this epoch, 0 to size: that many examples are done.
  void skip_to(std::size_t index);
  /// Skips `count` examples.
  void advance(std::size_t count) { skip_to(index_ + count); }
  void next_epoch();

  std::size_t size() const noexcept { return size_; }
  std::uint64_t seed() const noexcept { return seed_; }
  std::uint64_t epoch() const noexcept { return epoch_; }
  /// How many examples of this epoch are done.
  std::size_t index() const noexcept { return index_; }

  /// Size, seed, epoch and index, in some bytes: for torch::save and archives of your own.
  void save(torch::serialize::OutputArchive& archive) const override;
  /// Throws for an archive without a sampler, and for one of another size: its places would mean
  /// other examples.
  void load(torch::serialize::InputArchive& archive) override;

 private:
  std::size_t size_;
  std::uint64_t seed_;
  std::uint64_t epoch_;
  std::size_t index_ = 0;
  bool used_ = false;               ///< Whether next() was called in this epoch.
  std::vector<std::size_t> order_;  ///< Of this epoch; empty until it is needed.
};

}  // namespace tinkex::torch_ext
