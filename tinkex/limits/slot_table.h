#pragma once

// A fixed table of immutable entries that many threads read without a lock while others publish and
// retire entries.
//
// Why not std::atomic<std::shared_ptr>: libstdc++'s takes a spin lock. Here each slot has one
// 64-bit atomic word, and every change of a slot is one step of that word:
//
//     bits 63..32  generation   how often the slot has been given back, plus one
//     bit  31      live         readers may pin
//     bit  30      claimed      belongs to a publisher or to an entry not yet released
//     bits 29..0   pins         readers inside
//
//     free --publish claims--> claimed --publish opens--> live --retire--> dying
//     dying --the last one out--> free, in the next generation
//
// Races.
// - acquire / retire: both are compare-exchanges of the same word. A pin taken before `live` is
//   cleared counts, and the entry is released only when the count is 0; a pin attempted after it
//   fails. Nothing lies in between.
// - Who releases: after `live` is cleared the count only falls. Either retire saw 0 as it cleared
// the
//   bit, or exactly one unpin brings the count to 0. That one thread destroys the entry.
// - Reads / destruction: unpin is a release, and the one that destroys acquires, so every read of
//   every pin happens before the destruction.
// - publish / acquire: the entry is written before `live` is set with release; a reader's
//   successful compare-exchange acquires it. Later changes by pins keep the release sequence.
// - Reuse of a slot (ABA): a handle names a generation. The word carries it, so the
// compare-exchange
//   of a stale handle cannot succeed. A slot whose 32-bit generation is used up is never reused.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "tinkex/error.h"

namespace tinkex::internal {

/// Names one published entry. A default one names none.
struct SlotHandle {
  std::uint32_t index = 0;
  std::uint32_t generation = 0;
  friend bool operator==(const SlotHandle&, const SlotHandle&) = default;
};

/// Threads: all members may be called from any thread at any time; none takes a lock. The table
/// must outlive its pins; pointers got from Pin::share() may outlive both.
template <class Entry>
class SlotTable {
  struct Slot;

 public:
  static constexpr std::size_t kDefaultCapacity = 4096;

  /// Keeps an entry in place while it is read. Empty if the handle was stale. Move-only; meant for
  /// the length of a call.
  class Pin {
   public:
    Pin() = default;
    Pin(Pin&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
    Pin& operator=(Pin&& other) noexcept {
      std::swap(slot_, other.slot_);
      return *this;
    }
    ~Pin() {
      if (slot_) unpin(*slot_);
    }

    explicit operator bool() const noexcept { return slot_ != nullptr; }
    const Entry& operator*() const noexcept { return *slot_->entry; }
    const Entry* operator->() const noexcept { return slot_->entry.get(); }
    /// A pointer to keep beyond the pin. It delays the entry's destruction, not the slot's reuse.
    std::shared_ptr<const Entry> share() const noexcept { return slot_ ? slot_->entry : nullptr; }

   private:
    friend class SlotTable;
    explicit Pin(Slot& slot) : slot_(&slot) {}
    Slot* slot_ = nullptr;
  };

  explicit SlotTable(std::size_t capacity = kDefaultCapacity)
      : capacity_(capacity), slots_(std::make_unique<Slot[]>(capacity)) {}

  /// Puts `entry` (not null) into a free slot. Fails when all slots are taken.
  Result<SlotHandle> publish(std::shared_ptr<const Entry> entry) {
    const std::size_t start = next_.fetch_add(1, std::memory_order_relaxed);
    for (std::size_t step = 0; step < capacity_; ++step) {
      const std::size_t index = (start + step) % capacity_;
      Slot& slot = slots_[index];
      std::uint64_t word = slot.word.load(std::memory_order_relaxed);
      // The acquire orders our writing after the destruction of the entry before.
      if (!is_free(word) ||
          !slot.word.compare_exchange_strong(word, word | kClaimed, std::memory_order_acquire)) {
        continue;
      }
      slot.entry = std::move(entry);
      slot.word.store(word | kClaimed | kLive, std::memory_order_release);
      return SlotHandle{static_cast<std::uint32_t>(index), generation_of(word)};
    }
    return Error(ErrorCode::kIo, "all " + std::to_string(capacity_) +
                                     " client slots are in use; close clients that are no longer "
                                     "needed, or make the table larger");
  }

  /// Pins the entry that `handle` names; an empty pin if it was retired. Lock-free: a retry happens
  /// only because another thread succeeded.
  Pin acquire(SlotHandle handle) noexcept {
    if (handle.index >= capacity_) return Pin();
    Slot& slot = slots_[handle.index];
    std::uint64_t word = slot.word.load(std::memory_order_relaxed);
    while (generation_of(word) == handle.generation && (word & kLive) != 0) {
      if (slot.word.compare_exchange_weak(word, word + kOnePin, std::memory_order_acquire,
                                          std::memory_order_relaxed)) {
        return Pin(slot);
      }
    }
    return Pin();
  }

  /// Makes `handle` stale. The entry goes when the last pin leaves, on that thread, which may be
  /// this one. False if it was stale already.
  bool retire(SlotHandle handle) noexcept {
    if (handle.index >= capacity_) return false;
    Slot& slot = slots_[handle.index];
    std::uint64_t word = slot.word.load(std::memory_order_relaxed);
    while (generation_of(word) == handle.generation && (word & kLive) != 0) {
      if (slot.word.compare_exchange_weak(word, word & ~kLive, std::memory_order_acq_rel,
                                          std::memory_order_relaxed)) {
        if (pins_of(word) == 0) release(slot);
        return true;
      }
    }
    return false;
  }

  std::size_t capacity() const noexcept { return capacity_; }

 private:
  static constexpr std::uint64_t kOnePin = 1;
  static constexpr std::uint64_t kClaimed = std::uint64_t{1} << 30;
  static constexpr std::uint64_t kLive = std::uint64_t{1} << 31;
  static constexpr std::uint64_t kPinMask = kClaimed - 1;
  static constexpr int kGenerationShift = 32;
  static constexpr std::uint64_t kOneGeneration = std::uint64_t{1} << kGenerationShift;

  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

  /// A cache line of its own: readers of neighbouring clients do not disturb each other.
  struct alignas(64) Slot {
    std::atomic<std::uint64_t> word{kOneGeneration};
    std::shared_ptr<const Entry> entry;
  };

  static std::uint32_t generation_of(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>(word >> kGenerationShift);
  }
  static std::uint64_t pins_of(std::uint64_t word) noexcept { return word & kPinMask; }
  static bool is_free(std::uint64_t word) noexcept { return (word & (kClaimed | kLive)) == 0; }

  static void unpin(Slot& slot) noexcept {
    const std::uint64_t before = slot.word.fetch_sub(kOnePin, std::memory_order_acq_rel);
    if (pins_of(before) == 1 && (before & kLive) == 0) release(slot);
  }

  /// Only the one thread that the races above single out comes here.
  static void release(Slot& slot) noexcept {
    const std::shared_ptr<const Entry> last = std::move(slot.entry);
    const std::uint64_t word = slot.word.load(std::memory_order_relaxed);
    if (generation_of(word) == std::numeric_limits<std::uint32_t>::max()) return;
    slot.word.store((word & ~kClaimed) + kOneGeneration, std::memory_order_release);
    // `last` goes after the slot is free: the entry's destructor may publish.
  }

  const std::size_t capacity_;
  const std::unique_ptr<Slot[]> slots_;
  std::atomic<std::size_t> next_{0};
};

}  // namespace tinkex::internal
