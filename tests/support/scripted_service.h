#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "tinkex/mocks/tinker_script.h"
#include "tinkex/service_client.h"

namespace tinkex::testing {

/// How long a test waits for something that must happen.
inline constexpr std::chrono::seconds kPatience{10};

/// An example that every part of its answer tells from those of other numbers.
inline Datum datum(std::int64_t number) {
  const std::vector<std::int64_t> targets{number + 1, number + 2, number + 3};
  Datum made;
  made.model_input = ModelInput::from_tokens(std::vector<std::int64_t>{number, 1, 2});
  made.loss_fn_inputs = {{"target_tokens", TensorData::from(targets)},
                         {"weights", TensorData::from(std::vector<float>{1.0f, 0.5f, 0.0f})}};
  return made;
}

/// `size` examples with the numbers from `first`.
inline std::vector<Datum> batch(std::size_t size, std::int64_t first = 0) {
  std::vector<Datum> data;
  for (std::size_t i = 0; i < size; ++i) data.push_back(datum(first + static_cast<int>(i)));
  return data;
}

/// Whether this is the answer of a TinkerScript to `batch(size, first)`: the logprobs of every
/// example, in order, and the loss of all.
inline ::testing::AssertionResult answers_batch(const Result<ForwardBackwardOutput>& output,
                                                std::size_t size, std::int64_t first = 0) {
  if (!output.ok()) return ::testing::AssertionFailure() << output.error().what();
  if (output->loss_fn_outputs.size() != size) {
    return ::testing::AssertionFailure() << output->loss_fn_outputs.size() << " examples";
  }
  double loss = 0;
  for (std::size_t i = 0; i < size; ++i) {
    const auto number = static_cast<float>(first + static_cast<int>(i));
    const TensorData* logprobs = find(output->loss_fn_outputs[i], "logprobs");
    if (logprobs == nullptr ||
        logprobs->to_floats() != std::vector<float>{-number - 1, -number - 2, -number - 3}) {
      return ::testing::AssertionFailure() << "wrong logprobs for example " << i;
    }
    loss += (number + 1) + 0.5 * (number + 2);
  }
  if (!output->metrics.contains("loss:sum") || output->metrics.at("loss:sum") != loss) {
    return ::testing::AssertionFailure() << "the loss is not " << loss;
  }
  return ::testing::AssertionSuccess();
}

/// The plan of an operation whose first poll waits for the gate, to be told "not yet".
inline mocks::OperationPlan held_by(std::shared_ptr<mocks::Gate> gate) {
  return {.polls = {mocks::TinkerScript::try_again().held_by(std::move(gate))}};
}

/// A server, and a service client of it once connect_service() was called.
class ScriptedServiceTest : public ::testing::Test {
 protected:
  void connect_service(ClientOptions options) {
    auto connected = ServiceClient::connect(std::move(options));
    if (!connected.ok()) throw std::runtime_error(connected.error().what());
    service.emplace(*std::move(connected));
  }

  /// Replies of an endpoint without a future, used before its own.
  void script(std::string_view endpoint, std::vector<mocks::Reply> replies) {
    tinker.server().script("POST", mocks::TinkerScript::path(endpoint), std::move(replies));
  }
  /// The requests to endpoints that begin like this, refused ones and repeats included.
  std::vector<mocks::LoggedRequest> requests(std::string_view endpoint) const {
    return tinker.server().log(mocks::TinkerScript::path(endpoint));
  }
  std::size_t count(std::string_view endpoint) const {
    return tinker.server().count(mocks::TinkerScript::path(endpoint));
  }
  /// Where an operation was sent to.
  std::string target_of(const mocks::Operation& operation) const {
    return tinker.server().log()[operation.log_index].target;
  }
  bool wait_for_requests(std::size_t number, std::string_view endpoint) const {
    return tinker.server().wait_for_requests(number, kPatience,
                                             mocks::TinkerScript::path(endpoint));
  }
  /// Waits until the server has accepted so many operations of this kind, and gives them. A request
  /// is in the log a moment before its operation is there.
  std::vector<mocks::Operation> wait_for_operations(std::size_t number,
                                                    std::string_view kind) const {
    const std::string name(kind);
    (void)wait_until([&] { return tinker.operations(name).size() >= number; });
    auto accepted = tinker.operations(name);
    if (accepted.size() < number) throw std::runtime_error("too few operations: " + name);
    return accepted;
  }
  /// Waits until a poll for the operation's result has been answered.
  bool wait_for_answer(const mocks::Operation& operation) const {
    return wait_for_poll([id = '"' + operation.request_id + '"'](const auto& poll) {
      return poll.replied.order != 0 && poll.body.find(id) != std::string::npos;
    });
  }
  /// Waits until the client has given up a poll that is held back.
  bool wait_for_abandoned_poll() const {
    return wait_for_poll([](const auto& poll) { return poll.client_left; });
  }

  mocks::TinkerScript tinker;
  std::optional<ServiceClient> service;

 private:
  /// The server tells when a request arrives, but not what happens to it later.
  bool wait_for_poll(const std::function<bool(const mocks::LoggedRequest&)>& is_it) const {
    return wait_until([this, &is_it] {
      const auto polls = requests("retrieve_future");
      return std::any_of(polls.begin(), polls.end(), is_it);
    });
  }
  static bool wait_until(const std::function<bool()>& happened) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!happened()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }
};

}  // namespace tinkex::testing
