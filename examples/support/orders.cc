#include "examples/support/orders.h"

#include <array>
#include <utility>
#include <vector>

#include "examples/support/dice.h"
#include "examples/support/words.h"

namespace sft {
namespace {

constexpr std::int64_t kPrompts = 48;
/// Seed of the held-out messages: the same for every run.
constexpr std::int64_t kPromptSeed = 20;

struct Vocabulary {
  std::vector<std::string> kinds, things, first_names, last_names, cities;
};

const Vocabulary& vocabulary(Words words) {
  static const Vocabulary training{
      split(
          "green red brown small large cheap fresh dried printed wooden plastic organic old frozen "
          "heavy light soft striped silver woolen sweet salted spare folding round long"),
      split(
          "tea,wine,rice,lamps,socks,towels,bulbs,coffee beans,pencils,dog food,frames,soap,juice,"
          "knives,candles,notebooks,gloves,seeds,batteries,bottles,brushes,pillows,wire,cases,"
          "honey,envelopes,screws,olives,paper,hoses,apples,ladders,mugs,stamps,carpets,buttons",
          ','),
      split("Marta Tom Ingrid Samuel Priya Lukas Amara Victor Elena Hassan Chloe Diego Yuki Peter "
            "Fatima Oscar Nadia George Mei Andre Sofia Ivan Leila Martin Grace Ahmed Julia Pablo "
            "Emma Noah Olga Ravi Sara Jonas Carmen Felix Wanda Kwame Lucia Erik"),
      split("Lindqvist Okafor Meyer Fernandez Kowalski Tanaka Haddad Johnson Rossi Novak Dubois "
            "Singh Petrov Andersen Moreau Costa Schmidt Ali Kim Murphy Silva Weber Jansen Popescu "
            "Garcia Larsen Wright Horvat Baker Mbeki Olsen Conti Patel Fischer Sato Leclerc Stone"),
      split("Bergen,Lagos,Vienna,Lima,Krakow,Osaka,Cairo,Boston,Milan,Prague,Lyon,Delhi,Sofia,"
            "Aarhus,Nantes,Porto,Hamburg,Karachi,Seoul,Dublin,Recife,Zurich,Utrecht,Cluj,"
            "Madrid,Tromso,Leeds,Zagreb,New York,San Diego,Denver,Manila,Bristol,Riga,Tunis,Havana,"
            "Fort Worth,Quito,Naples,Perth",
            ',')};
  static const Vocabulary held_out{
      split("black blue white tall broken cotton golden spicy"),
      split(
          "pepper,tents,paint,shirts,syrup,hammers,tires,almonds,chairs,boots,chess sets,blankets",
          ','),
      split("Hannah Kofi Birgit Tariq Louise Mateo Aiko Stefan Zainab Henrik Rosa Dmitri"),
      split("Bergstrom Mensah Hoffmann Iqbal Laurent Vargas Nakamura Ionescu Bello Dahl Mancini "
            "Volkov"),
      split("Helsinki,Accra,Munich,Lahore,Geneva,Bogota,Kyoto,Bucharest,Nairobi,Turin,Cape Town,"
            "Los Angeles",
            ',')};
  return words == Words::kTraining ? training : held_out;
}

constexpr std::array<const char*, 21> kNumbers = {
    "no",       "one",     "two",     "three",     "four",     "five",     "six",
    "seven",    "eight",   "nine",    "ten",       "eleven",   "twelve",   "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"};

/// Q, I, N, C and D in braces stand for the quantity, the item, the name, the city and the day.
const std::vector<std::string>& patterns() {
  static const std::vector<std::string> all = split(
      "Hi, please send {Q} {I} to {N} in {C} by {D}. Thanks!|"
      "{N} from {C} needs {Q} {I} before {D}.|"
      "Could you ship {Q} {I} to {C}? They are for {N}, who needs them on {D}.|"
      "Order for {N}, {C}: {Q} {I}, delivery {D}.|"
      "We are out of {I} again! Can {Q} be here in {C} by {D}? Regards, {N}|"
      "My name is {N} and I would like {Q} {I} delivered to my house in {C} on {D}.|"
      "On {D} at the latest I must have {Q} {I}. Address: {N}, {C}.|"
      "{C} office calling, {N} speaking. We will take {Q} {I}. {D} is fine.",
      '|');
  return all;
}

void replace(std::string& text, const std::string& what, const std::string& with) {
  if (const std::size_t at = text.find(what); at != std::string::npos) {
    text.replace(at, what.size(), with);
  }
}

std::string prompt_of(const std::string& message) { return "Message: " + message + "\nJSON:"; }

class OrdersTask final : public Task {
 public:
  explicit OrdersTask(std::int64_t seed) : seed_(seed) {
    Dice dice(kPromptSeed, 0);
    for (std::int64_t i = 0; i < kPrompts; ++i) {
      const Order order = random_order(dice, Words::kHeldOut);
      prompts_.push_back({prompt_of(order_message(order, dice)), " " + order_json(order)});
    }
  }

  std::string description() const override {
    return "orders to JSON: " + std::to_string(prompts_.size()) +
           " messages with unseen items, people and cities held out";
  }

  std::vector<Example> batch(std::int64_t step, std::int64_t size) const override {
    Dice dice(seed_, step);
    std::vector<Example> examples;
    for (std::int64_t i = 0; i < size; ++i) {
      const Order order = random_order(dice, Words::kTraining);
      examples.push_back({.parts = {{prompt_of(order_message(order, dice)), false},
                                    {" " + order_json(order), true}}});
    }
    return examples;
  }

  const std::vector<Prompt>& prompts() const override { return prompts_; }

  /// Usual tokenizers make half as many of the longest answer.
  std::int64_t answer_tokens() const override { return 96; }

  tinkex::Result<std::string> fit(const tinkex::Tokenizer& /*tokenizer*/,
                                  std::int64_t context_length) override {
    // By bytes; no tokenizer makes more tokens of an order.
    constexpr std::int64_t kLongest = 320;
    return fit_whole("an order", kLongest, context_length);
  }

 private:
  const std::int64_t seed_;
  std::vector<Prompt> prompts_;
};

}  // namespace

Order random_order(Dice& dice, Words words) {
  static const std::vector<std::string> days =
      split("Monday Tuesday Wednesday Thursday Friday Saturday Sunday");
  const Vocabulary& from = vocabulary(words);
  Order order;
  const std::string& kind = dice.pick(from.kinds);
  order.item = kind + " " + dice.pick(from.things);
  order.quantity = 2 + static_cast<int>(dice.below(59));
  const std::string& first = dice.pick(from.first_names);
  order.customer = first + " " + dice.pick(from.last_names);
  order.city = dice.pick(from.cities);
  order.day = dice.pick(days);
  return order;
}

std::string order_message(const Order& order, Dice& dice) {
  const auto quantity = static_cast<std::size_t>(order.quantity);
  const bool spelled = quantity < kNumbers.size() && dice.below(2) == 0;
  std::string text = dice.pick(patterns());
  replace(text, "{Q}", spelled ? kNumbers[quantity] : std::to_string(order.quantity));
  replace(text, "{I}", order.item);
  replace(text, "{N}", order.customer);
  replace(text, "{C}", order.city);
  replace(text, "{D}", order.day);
  return text;
}

std::string order_json(const Order& order) {
  return "{\"item\": \"" + order.item + "\", \"quantity\": " + std::to_string(order.quantity) +
         ", \"customer\": \"" + order.customer + "\", \"city\": \"" + order.city +
         "\", \"day\": \"" + order.day + "\"}";
}

std::unique_ptr<Task> orders_task(std::int64_t seed) { return std::make_unique<OrdersTask>(seed); }

}  // namespace sft
