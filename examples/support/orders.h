#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "examples/support/data.h"

namespace sft {

class Dice;

/// What somebody orders.
struct Order {
  std::string item;
  int quantity = 0;
  std::string customer;
  std::string city;
  std::string day;
};

/// Which words an order is made of: those that are learned from, or others that the model never
/// sees in training.
enum class Words { kTraining, kHeldOut };
Order random_order(Dice& dice, Words words);

/// The order as somebody might write it, in one of a number of ways.
std::string order_message(const Order& order, Dice& dice);
/// `{"item": "green tea", "quantity": 3, "customer": "Ann Lee", "city": "Oslo", "day": "Friday"}`.
std::string order_json(const Order& order);

/// Learns to turn messages into JSON, and is asked about messages with items, people and cities
/// that it has not seen. For models that read and write already.
std::unique_ptr<Task> orders_task(std::int64_t seed);

}  // namespace sft
