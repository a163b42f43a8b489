#include "tinkex/async/step_chain.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "tests/support/manual_runtime.h"

namespace tinkex::internal {
namespace {

using testing::ManualRuntime;

/// Answers the first exchange, and lets the chain go on to the next, before send() has returned.
class HastyTransport final : public Transport {
 public:
  explicit HastyTransport(ManualRuntime& world) : world_(world) {}

  RequestId send(HttpRequest, Callback callback) noexcept override {
    const RequestId id = ++last_id_;
    if (id == 1) {
      callback(HttpResponse{});
      world_.executor->run_all();
    } else {
      pending_ = std::move(callback);
    }
    return id;
  }
  void cancel(RequestId id) noexcept override { cancelled.push_back(id); }
  void shutdown() noexcept override { pending_ = nullptr; }  // the callback holds its chain

  std::vector<RequestId> cancelled;

 private:
  ManualRuntime& world_;
  RequestId last_id_ = 0;
  Callback pending_;
};

class Chain final : public StepChain {
 public:
  explicit Chain(std::shared_ptr<Runtime> runtime) : StepChain(std::move(runtime)) {}

  void start() {
    exchange({}, [self = shared_from_this(), this](Result<HttpResponse>) {
      exchange({}, [self](Result<HttpResponse>) {});
    });
  }
};

TEST(StepChainTest, CancelMeetsTheExchangeUnderWayWhenItsPredecessorWasAnsweredAtOnce) {
  ManualRuntime world;
  const auto transport = std::make_shared<HastyTransport>(world);
  world.runtime->transport = transport;
  const auto chain = std::make_shared<Chain>(world.runtime);
  chain->start();
  chain->cancel();
  EXPECT_EQ(transport->cancelled, std::vector<Transport::RequestId>{2});
  transport->shutdown();
}

}  // namespace
}  // namespace tinkex::internal
