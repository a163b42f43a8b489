#include "tinkex/limits/slot_table.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <set>
#include <thread>
#include <vector>

namespace tinkex::internal {
namespace {

/// Counts itself, and becomes unreadable when it is destroyed.
struct Entry {
  explicit Entry(std::uint64_t value) : first(value), second(~value) { ++alive; }
  ~Entry() {
    first = second = 0;
    --alive;
  }
  bool intact() const { return first == ~second; }

  std::uint64_t first;
  std::uint64_t second;
  static inline std::atomic<int> alive{0};
};

using Table = SlotTable<Entry>;

SlotHandle publish(Table& table, std::uint64_t value) {
  return table.publish(std::make_shared<const Entry>(value)).value();
}

// Spec S3.
TEST(SlotTableTest, S3_FindsWhatWasPublished) {
  Table table(4);
  const SlotHandle a = publish(table, 7);
  const SlotHandle b = publish(table, 8);
  EXPECT_EQ(table.acquire(a)->first, 7U);
  EXPECT_EQ((*table.acquire(b)).first, 8U);
}

// Spec S13.
TEST(SlotTableTest, S13_StaleAndForeignHandlesFindNothing) {
  Table table(2);
  EXPECT_FALSE(table.acquire(SlotHandle{}));
  EXPECT_FALSE(table.acquire(SlotHandle{0, 1})) << "nothing was published yet";
  EXPECT_FALSE(table.acquire(SlotHandle{99, 1}));
  EXPECT_FALSE(table.retire(SlotHandle{99, 1}));
  const SlotHandle handle = publish(table, 1);
  EXPECT_TRUE(table.retire(handle));
  EXPECT_FALSE(table.acquire(handle));
  EXPECT_FALSE(table.retire(handle)) << "a second retire is harmless";
  EXPECT_EQ(table.acquire(handle).share(), nullptr);
}

// Spec S3.
TEST(SlotTableTest, S3_AReusedSlotRefusesTheOldHandle) {
  Table table(1);
  std::set<std::uint32_t> generations;
  for (std::uint64_t i = 0; i < 100; ++i) {
    const SlotHandle handle = publish(table, i);
    EXPECT_EQ(table.acquire(handle)->first, i);
    for (const std::uint32_t old : generations) {
      EXPECT_FALSE(table.acquire(SlotHandle{handle.index, old}));
      EXPECT_FALSE(table.retire(SlotHandle{handle.index, old}));
    }
    EXPECT_TRUE(generations.insert(handle.generation).second);
    EXPECT_TRUE(table.retire(handle));
  }
}

// Spec H14.
// Spec S12.
TEST(SlotTableTest, S12_TheEntryLivesUntilTheLastPinLeaves) {
  Table table(1);
  const SlotHandle handle = publish(table, 5);
  Table::Pin first = table.acquire(handle);
  Table::Pin second = table.acquire(handle);
  EXPECT_TRUE(table.retire(handle));
  EXPECT_FALSE(table.acquire(handle));
  EXPECT_TRUE(second->intact());
  first = Table::Pin();
  EXPECT_EQ(Entry::alive, 1);
  EXPECT_FALSE(table.publish(std::make_shared<const Entry>(6)).ok()) << "still being read";
  EXPECT_EQ(second->first, 5U);
  second = Table::Pin();
  EXPECT_EQ(Entry::alive, 0);
  EXPECT_TRUE(table.publish(std::make_shared<const Entry>(7)).ok());
}

TEST(SlotTableTest, SharedPointerOutlivesSlotAndTable) {
  std::shared_ptr<const Entry> kept;
  {
    Table table(1);
    const SlotHandle handle = publish(table, 5);
    kept = table.acquire(handle).share();
    table.retire(handle);
    EXPECT_EQ(table.acquire(publish(table, 6))->first, 6U);
  }
  EXPECT_EQ(kept->first, 5U);
}

TEST(SlotTableTest, FullTableSaysSoAndRecovers) {
  Table table(3);
  const SlotHandle a = publish(table, 1);
  publish(table, 2);
  publish(table, 3);
  const Result<SlotHandle> refused = table.publish(std::make_shared<const Entry>(4));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message(),
            "all 3 client slots are in use; close clients that are no longer needed, or make the "
            "table larger");
  table.retire(a);
  EXPECT_EQ(table.acquire(publish(table, 4))->first, 4U);
}

TEST(SlotTableTest, TableDestroysWhatIsLeft) {
  {
    Table table(2);
    publish(table, 1);
  }
  EXPECT_EQ(Entry::alive, 0);
}

TEST(SlotTableTest, AnEntryMayPublishWhileItIsDestroyed) {
  struct Chained {
    SlotTable<Chained>* table = nullptr;
    bool* published = nullptr;
    ~Chained() {
      if (table) *published = table->publish(std::make_shared<const Chained>()).ok();
    }
  };
  SlotTable<Chained> table(1);
  bool published = false;
  auto entry = std::make_shared<Chained>();
  entry->table = &table;
  entry->published = &published;
  const SlotHandle handle = table.publish(std::move(entry)).value();
  table.retire(handle);
  EXPECT_TRUE(published);
}

// Two slots, so that they are reused constantly; readers use handles that go stale under them.
// Spec H2, S12.
TEST(SlotTableTest, H2_S12_ReadersNeverSeeADestroyedOrForeignEntry) {
  Table table(2);
  constexpr std::uint64_t kRounds = 1'500;
  std::array<std::atomic<std::uint64_t>, 2> current{};  // index and generation, packed
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> hits{0};
  std::atomic<bool> wrong{false};
  const auto pack = [](SlotHandle h) { return std::uint64_t{h.index} << 32 | h.generation; };

  std::vector<std::thread> readers;
  for (int r = 0; r < 4; ++r) {
    readers.emplace_back([&, r] {
      while (!stop) {
        const std::uint64_t packed = current[static_cast<std::size_t>(r % 2)];
        const SlotHandle handle{static_cast<std::uint32_t>(packed >> 32),
                                static_cast<std::uint32_t>(packed)};
        const Table::Pin pin = table.acquire(handle);
        if (!pin) {
          std::this_thread::yield();
          continue;
        }
        // Index and generation make a handle unique, so the entry can carry what it must be.
        if (!pin->intact() || pin->first % 2 != static_cast<std::uint64_t>(r % 2)) wrong = true;
        hits.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  std::vector<std::thread> writers;
  for (std::uint64_t w = 0; w < 2; ++w) {
    writers.emplace_back([&, w] {
      for (std::uint64_t i = 0; i < kRounds; ++i) {
        const auto published = table.publish(std::make_shared<const Entry>(2 * i + w));
        if (!published.ok()) {  // both slots still hold pins
          std::this_thread::yield();
          continue;
        }
        current[w] = pack(*published);
        if (i % 4 == 0) std::this_thread::yield();  // lets readers in
        if (!table.retire(*published)) wrong = true;
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_FALSE(wrong);
  EXPECT_GT(hits, 0U);
  EXPECT_EQ(Entry::alive, 0);
}

// Spec S12.
TEST(SlotTableTest, S12_ConcurrentRetiresReleaseOnce) {
  Table table(1);
  for (std::uint64_t i = 0; i < 500; ++i) {
    const SlotHandle handle = publish(table, i);
    std::atomic<int> retired{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        const Table::Pin pin = table.acquire(handle);
        if (table.retire(handle)) ++retired;
        EXPECT_TRUE(!pin || pin->intact());
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(retired, 1);
    ASSERT_EQ(Entry::alive, 0);
  }
}

}  // namespace
}  // namespace tinkex::internal
