// More requests than the I/O thread starts at a time.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <vector>

#include "tests/tinkex/http/exchange.h"
#include "tinkex/http/io_thread.h"
#include "tinkex/http/start_window.h"
#include "tinkex/mocks/scripted_server.h"

namespace tinkex::http {
namespace {

using internal::IoThread;
using mocks::Gate;
using mocks::LoggedRequest;
using mocks::Reply;
using mocks::ScriptedServer;
using std::chrono::milliseconds;
using Replies = std::vector<std::future<Result<HttpResponse>>>;

constexpr milliseconds kPatience{10'000};

/// Lowers the limit of open files, of which half may be connections, while it lives.
class FewFiles {
 public:
  explicit FewFiles(rlim_t files) {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit lower{files, before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &lower);
  }
  FewFiles(const FewFiles&) = delete;
  FewFiles& operator=(const FewFiles&) = delete;
  ~FewFiles() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

std::shared_ptr<IoThread> start_io(rlim_t files) {
  const FewFiles few(files);
  return IoThread::start(std::make_shared<SteadyClock>()).value();
}

class BurstTest : public ::testing::Test {
 protected:
  BurstTest() {
    server_.handle("POST", "/quick", [](const LoggedRequest& r) { return Reply::json(r.body); });
    server_.handle("POST", "/held", [gate = gate_](const LoggedRequest& request) {
      return Reply::json(request.body).held_by(gate);
    });
  }

  Replies send(std::string_view path, std::size_t count, Transport::RequestId* last = nullptr) {
    Replies replies;
    for (std::size_t i = 0; i < count; ++i) {
      replies.push_back(
          start(*io_, post(server_.base_url() + std::string(path), std::to_string(i)), last));
    }
    return replies;
  }
  static void expect_own_answers(Replies& replies) {
    for (std::size_t i = 0; i < replies.size(); ++i) {
      EXPECT_EQ(replies[i].get().value().body, std::to_string(i));
    }
  }

  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  ScriptedServer server_;
  // 20 connections.
  std::shared_ptr<IoThread> io_ = start_io(40);
};

TEST_F(BurstTest, EveryRequestOfABurstGetsItsOwnAnswer) {
  auto replies = send("/quick", 1'000);
  expect_own_answers(replies);
  EXPECT_LE(server_.connections_accepted(), 20);
}

TEST_F(BurstTest, WhatTheServerHoldsStandsInNobodysWay) {
  io_ = start_io(1'000);
  auto held = send("/held", 2 * internal::StartWindow::kMaxYoung);
  auto quick = send("/quick", 10);
  expect_own_answers(quick);
  gate_->open();
  expect_own_answers(held);
}

TEST_F(BurstTest, BeyondTheConnectionsRequestsWaitForOneToEnd) {
  auto held = send("/held", 20);
  ASSERT_TRUE(server_.wait_for_requests(20, kPatience));
  auto waiting = send("/quick", 5);
  EXPECT_EQ(waiting[0].wait_for(milliseconds(20)), std::future_status::timeout);
  EXPECT_EQ(server_.count("/quick"), 0u);
  gate_->open();
  expect_own_answers(held);
  expect_own_answers(waiting);
}

TEST_F(BurstTest, AnUrgentRequestWaitsForNoConnection) {
  auto held = send("/held", 20);
  ASSERT_TRUE(server_.wait_for_requests(20, kPatience));
  auto waiting = send("/quick", 1);
  HttpRequest urgent = post(server_.base_url() + "/quick", "urgent");
  urgent.urgent = true;
  auto reply = start(*io_, std::move(urgent));
  ASSERT_EQ(reply.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(reply.get().value().body, "urgent");
  EXPECT_EQ(server_.count("/quick"), 1u);
  gate_->open();
  expect_own_answers(held);
  expect_own_answers(waiting);
}

TEST_F(BurstTest, OneThatWaitsCanBeCancelledAndNeverLeaves) {
  auto held = send("/held", 20);
  ASSERT_TRUE(server_.wait_for_requests(20, kPatience));
  Transport::RequestId id = 0;
  auto waiting = send("/quick", 1, &id);
  io_->cancel(id);
  const Error error = waiting[0].get().error();
  EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  EXPECT_TRUE(error.not_accepted());
  gate_->open();
  expect_own_answers(held);
  EXPECT_EQ(server_.count("/quick"), 0u);
}

TEST_F(BurstTest, ShutdownAnswersThoseThatWait) {
  auto held = send("/held", 20);
  ASSERT_TRUE(server_.wait_for_requests(20, kPatience));
  auto waiting = send("/quick", 5);
  io_->shutdown();
  for (auto& reply : waiting) EXPECT_EQ(reply.get().error().code(), ErrorCode::kClosed);
  for (auto& reply : held) EXPECT_EQ(reply.get().error().code(), ErrorCode::kClosed);
}

}  // namespace
}  // namespace tinkex::http
