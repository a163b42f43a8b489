// What keeps a service open when its objects are dropped, on a server that holds its answers back.

#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/torch_ext/call_op.h"
#include "tinkex/mocks/tinker_script.h"
#include "torch_ext/connect.h"
#include "torch_ext/ops/client_classes.h"
#include "torch_ext/ops/reaper.h"
#include "torch_ext/remote_adamw.h"
#include "torch_ext/remote_model.h"

namespace tinkex::torch_ext {
namespace {

using c10::IValue;
using std::chrono::seconds;

constexpr seconds kPatience{30};

Connection connection_to(mocks::TinkerScript& tinker) {
  return {.service = ServiceClient::connect(tinker.options()).value(),
          .description = "",
          .data_dir = "",
          .base_models = {},
          .backend = {}};
}

IValue targets() {
  c10::Dict<std::string, c10::List<at::Tensor>> inputs;
  inputs.insert("target_tokens", c10::List<at::Tensor>({tokens_of({2, 3})}));
  return inputs;
}
IValue flat_targets() {
  c10::Dict<std::string, at::Tensor> inputs;
  inputs.insert("target_tokens", tokens_of({2, 3}));
  return inputs;
}

/// An op, and its arguments behind the client.
struct Call {
  std::string op;
  std::vector<IValue> rest;
};

std::vector<Call> calls_of_a_trainer() {
  const IValue tokens = tensor_list({tokens_of({1, 2})});
  const std::vector<IValue> ragged = {tokens_of({1, 2}), tokens_of({0, 2}), flat_targets()};
  return {{"forward", {tokens, targets()}},
          {"forward_backward", {tokens, targets()}},
          {"forward_ragged", ragged},
          {"forward_backward_ragged", ragged},
          {"optim_step", {}},
          {"save_state", {"a"}},
          {"load_state", {"tinker://run/weights/a"}},
          {"save_weights_for_sampler", {"a"}},
          {"save_weights_and_get_sampling_client", {}},
          {"unload", {}}};
}

std::vector<Call> calls_of_a_sampler() {
  const IValue prompts = tensor_list({tokens_of({1, 2})});
  return {{"sample", {tokens_of({1, 2})}},
          {"sample_ragged", {prompts}},
          {"compute_logprobs", {tokens_of({1, 2})}},
          {"compute_logprobs_ragged", {prompts}}};
}

std::vector<Call> calls_of_a_service() {
  return {{"create_lora_training_client", {"scripted"}},
          {"create_training_client_from_state", {"tinker://run/weights/a"}},
          {"create_sampling_client", {"scripted"}},
          {"delete_checkpoint", {"tinker://run/weights/a"}}};
}

enum class Client { kService, kTrainer, kSampler };

/// A server, and what a test drops of its objects.
class Held {
 public:
  explicit Held(Client client) {
    const IValue service(c10::make_intrusive<ScriptService>(connection_to(tinker_)));
    object_ = service;
    if (client == Client::kTrainer)
      object_ = call("create_lora_training_client", {service, "base"});
    if (client == Client::kSampler) object_ = call("create_sampling_client", {service, "base"});
  }

  IValue make(const Call& each, const std::string& form) {
    std::vector<IValue> arguments = each.rest;
    arguments.insert(arguments.begin(), object_);
    return call(each.op + form, std::move(arguments));
  }
  /// From here on the server answers nothing until answer().
  void hold_back() {
    tinker_.plan_each(
        [gate = gate_](const auto&) { return mocks::OperationPlan{.result_gate = gate}; });
    // What has no future.
    const auto hold = [&](const char* method, const char* endpoint, const char* reply) {
      tinker_.server().handle(
          method, mocks::TinkerScript::path(endpoint),
          [gate = gate_, reply](const auto&) { return mocks::Reply::json(reply).held_by(gate); });
    };
    hold("POST", "unload_model", "{}");
    hold("POST", "create_sampling_session", R"({"sampling_session_id":"session-1:sample:0"})");
    hold("DELETE", "", "{}");
  }

  void drop() {
    object_ = IValue();
    wait_until_dropped();
  }
  void answer() { gate_->open(); }

  bool service_is_open() const { return tinker_.server().count(finish()) == 0; }
  bool service_ends() const { return tinker_.server().wait_for_requests(1, kPatience, finish()); }

 private:
  static std::string finish() { return mocks::TinkerScript::path("sessions/session-1/finish"); }

  mocks::TinkerScript tinker_;
  const std::shared_ptr<mocks::Gate> gate_ = std::make_shared<mocks::Gate>();
  IValue object_;
};

std::string told_by(const IValue& result) {
  return thrown_by([&] {
           if (result.isFuture()) {
             result.toFuture()->waitAndThrow();
           } else {
             method(result, "wait");
           }
         })
      .text;
}

void expect_results_without_the_client(Client client, const std::vector<Call>& calls) {
  for (const Call& each : calls) {
    for (const std::string form : {"_async", "_future"}) {
      SCOPED_TRACE(each.op + form);
      Held held(client);
      held.hold_back();
      IValue result = held.make(each, form);
      held.drop();
      EXPECT_TRUE(held.service_is_open());
      held.answer();
      EXPECT_EQ(told_by(result), "nothing was thrown");
      result = IValue();  // it may be a client, which keeps the service in its turn
      EXPECT_TRUE(held.service_ends());
      wait_until_dropped();
    }
  }
}

TEST(LeaseTest, EveryCallOfATrainerEndsThoughItsClientAndServiceWereDropped) {
  expect_results_without_the_client(Client::kTrainer, calls_of_a_trainer());
}

TEST(LeaseTest, EveryCallOfASamplerEndsThoughItsClientAndServiceWereDropped) {
  expect_results_without_the_client(Client::kSampler, calls_of_a_sampler());
}

TEST(LeaseTest, EveryCallOfAServiceEndsThoughItWasDropped) {
  expect_results_without_the_client(Client::kService, calls_of_a_service());
}

TEST(LeaseTest, CallWhoseHandleWasDroppedTooGoesOn) {
  Held held(Client::kTrainer);
  held.hold_back();
  held.make({"optim_step", {}}, "_async");
  held.drop();
  EXPECT_TRUE(held.service_is_open());
  held.answer();
  EXPECT_TRUE(held.service_ends());
}

TEST(LeaseTest, CallThatWasCancelledKeepsNothing) {
  Held held(Client::kTrainer);
  held.hold_back();
  const IValue handle = held.make({"optim_step", {}}, "_async");
  held.drop();
  method(handle, "cancel");
  EXPECT_TRUE(held.service_ends());
}

TEST(LeaseTest, PipelinedStepGoesOnThoughTheModelWasDropped) {
  Held held(Client::kTrainer);
  const at::Tensor anchor = at::zeros({1}, at::kDouble).requires_grad_(true);
  const IValue tokens = tensor_list({tokens_of({1, 2})});
  held.make({"loss", {anchor, tokens, targets()}}, "").toTensor().backward();
  held.hold_back();
  held.make({"step", {anchor, 1e-3, 0.9, 0.95, 1e-8, 0.0, 0.0, true}}, "");
  held.drop();
  EXPECT_TRUE(held.service_is_open());
  held.answer();
  EXPECT_TRUE(held.service_ends());
}

// Nothing of it may be under way when the program has left the service behind, and exits.
TEST(LeaseTest, FutureOfARemoteModelInCppEndsWithItsService) {
  mocks::TinkerScript tinker;
  const auto gate = std::make_shared<mocks::Gate>();
  tinker.plan("forward_backward", {.result_gate = gate});
  auto connection = std::make_unique<Connection>(connection_to(tinker));
  auto model = std::make_unique<RemoteModel>(*connection, RemoteModelOptions{.base_model = "base"});
  auto result = (*model)->forward_backward(
      "cross_entropy", {{tokens_of({1, 2})}, {{"target_tokens", {tokens_of({2, 3})}}}});
  connection.reset();
  model.reset();
  ASSERT_FALSE(result.get().ok());
  EXPECT_EQ(result.get().error().code(), ErrorCode::kClosed);
  gate->open();
}

TEST(LeaseTest, LastLeaseIsDroppedByTheReaperWhateverThreadLetsGoOfIt) {
  std::thread::id dropped_on;
  std::shared_ptr<const void> lease =
      dropped_later(std::shared_ptr<int>(new int(0), [&dropped_on](const int* object) {
        delete object;
        dropped_on = std::this_thread::get_id();
      }));
  std::shared_ptr<const void> other = lease;
  other.reset();
  wait_until_dropped();
  EXPECT_EQ(dropped_on, std::thread::id());
  lease.reset();
  wait_until_dropped();
  EXPECT_NE(dropped_on, std::thread::id());
  EXPECT_NE(dropped_on, std::this_thread::get_id());
}

}  // namespace
}  // namespace tinkex::torch_ext
