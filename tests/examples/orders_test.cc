#include "examples/support/orders.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "examples/support/dice.h"
#include "tinkex/tokenizer.h"

namespace sft {
namespace {

TEST(OrdersTest, JsonHoldsTheOrder) {
  const Order order{"green tea", 3, "Ann Lee", "Oslo", "Friday"};
  EXPECT_EQ(order_json(order),
            R"({"item": "green tea", "quantity": 3, "customer": "Ann Lee", "city": "Oslo", )"
            R"("day": "Friday"})");
}

TEST(OrdersTest, MessageNamesEverythingOnce) {
  Dice dice(3, 0);
  for (int i = 0; i < 1'000; ++i) {
    const Order order = random_order(dice, i % 2 == 0 ? Words::kTraining : Words::kHeldOut);
    const std::string text = order_message(order, dice);
    for (const std::string& part : {order.item, order.customer, order.city, order.day}) {
      ASSERT_NE(text.find(part), std::string::npos) << text;
    }
    ASSERT_EQ(text.find('{'), std::string::npos) << text;
    // By bytes; see fit() of the task.
    ASSERT_LT(text.size() + order_json(order).size() + 32, 320u) << text;
    ASSERT_EQ(nlohmann::json::parse(order_json(order)).at("quantity"), order.quantity);
  }
}

TEST(OrdersTest, HeldOutWordsAreNeverLearnedFrom) {
  Dice dice(4, 0);
  std::set<std::string> items, cities, customers;
  for (int i = 0; i < 5'000; ++i) {
    const Order order = random_order(dice, Words::kTraining);
    items.insert(order.item);
    cities.insert(order.city);
    customers.insert(order.customer);
  }
  for (int i = 0; i < 1'000; ++i) {
    const Order order = random_order(dice, Words::kHeldOut);
    ASSERT_EQ(items.count(order.item), 0u) << order.item;
    ASSERT_EQ(cities.count(order.city), 0u) << order.city;
    ASSERT_EQ(customers.count(order.customer), 0u) << order.customer;
  }
}

TEST(OrdersTaskTest, BatchDependsOnSeedAndStepAlone) {
  const auto texts = [](std::int64_t seed, std::int64_t step) {
    std::string all;
    for (const Example& example : orders_task(seed)->batch(step, 8)) {
      for (const Part& part : example.parts) all += part.text;
    }
    return all;
  };
  EXPECT_EQ(texts(1, 5), texts(1, 5));
  EXPECT_NE(texts(1, 5), texts(1, 6));
  EXPECT_NE(texts(1, 5), texts(2, 5));
}

TEST(OrdersTaskTest, EveryRunIsAskedTheSame) {
  const auto first = orders_task(1);
  const auto second = orders_task(2);
  ASSERT_EQ(first->prompts().size(), second->prompts().size());
  for (std::size_t i = 0; i < first->prompts().size(); ++i) {
    EXPECT_EQ(first->prompts()[i].text, second->prompts()[i].text);
  }
}

TEST(OrdersTaskTest, ShortContextIsRefused) {
  EXPECT_FALSE(orders_task(1)->fit(tinkex::ByteTokenizer(), 100));
  EXPECT_TRUE(orders_task(1)->fit(tinkex::ByteTokenizer(), 2048));
}

}  // namespace
}  // namespace sft
