#include "tinkex/mocks/scripted_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "tests/tinkex/http/raw_client.h"

namespace tinkex::mocks {
namespace {

using http::RawClient;
using std::chrono::milliseconds;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr milliseconds kPatience{10'000};

std::string ask(const ScriptedServer& server, std::string_view target) {
  RawClient client(server.port());
  client.send("POST " + std::string(target) +
              " HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
  return client.receive();
}

// Spec X1.
TEST(ScriptedServerTest, X1_RepliesComeInTheScriptedOrderThenFromTheHandler) {
  ScriptedServer server;
  server.script("POST", "/a", {Reply::json("1"), Reply::json("2", 503)});
  server.handle("POST", "/a", [](const LoggedRequest& r) { return Reply::json(r.target); });
  EXPECT_THAT(ask(server, "/a"), AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), EndsWith("\r\n\r\n1")));
  EXPECT_THAT(ask(server, "/a"), StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_THAT(ask(server, "/a?x"), EndsWith("/a?x"));
}

// Spec X1.
TEST(ScriptedServerTest, X1_TheLongestPrefixAndTheMethodChooseTheRoute) {
  ScriptedServer server;
  server.handle("", "/", [](const LoggedRequest&) { return Reply::json("any"); });
  server.handle("GET", "/a/b", [](const LoggedRequest&) { return Reply::json("get"); });
  server.handle("POST", "/a", [](const LoggedRequest&) { return Reply::json("a"); });
  EXPECT_THAT(ask(server, "/a/b"), EndsWith("\n\r\na"));
  EXPECT_THAT(ask(server, "/z"), EndsWith("any"));
}

TEST(ScriptedServerTest, RequestsThatTheTestForgotAreNamed) {
  ScriptedServer server;
  server.script("POST", "/once", {Reply::json("1")});
  server.handle("POST", "/throws",
                [](const LoggedRequest&) -> Reply { throw std::runtime_error("broken"); });
  EXPECT_THAT(ask(server, "/x"), AllOf(StartsWith("HTTP/1.1 404"), HasSubstr("POST /x")));
  ask(server, "/once");
  EXPECT_THAT(ask(server, "/once"), AllOf(StartsWith("HTTP/1.1 500"), HasSubstr("used up")));
  EXPECT_THAT(ask(server, "/throws"), AllOf(StartsWith("HTTP/1.1 500"), HasSubstr("broken")));
}

// Spec X2.
TEST(ScriptedServerTest, X2_TheLogHoldsRequestsWithTheirMomentsInOrder) {
  ScriptedServer server;
  server.handle("", "/", [](const LoggedRequest&) { return Reply::json("{}"); });
  RawClient client(server.port());
  for (const char* target : {"/1", "/2"}) {
    client.send("POST " + std::string(target) +
                " HTTP/1.1\r\nX-Id: 7\r\nContent-Length: 2\r\n\r\nhi");
    client.receive("{}");
  }
  ask(server, "/3");
  const auto log = server.log();
  ASSERT_EQ(log.size(), 3u);
  EXPECT_EQ(log[0].target, "/1");
  EXPECT_EQ(log[0].header("x-id"), "7");
  EXPECT_EQ(log[0].body, "hi");
  EXPECT_EQ(log[0].connection, log[1].connection);
  EXPECT_NE(log[1].connection, log[2].connection);
  for (const LoggedRequest& request : log) {
    EXPECT_LT(request.began.order, request.arrived.order);
    EXPECT_LT(request.arrived.order, request.replied.order);
    EXPECT_LE(request.arrived.time, request.replied.time);
  }
  EXPECT_GT(log[1].began.order, log[0].replied.order);
  EXPECT_EQ(server.log("/2").size(), 1u);
  EXPECT_EQ(server.max_in_flight(), 1u);
}

TEST(ScriptedServerTest, HeldRepliesLeaveWhenTheirGateOpensAndCountAsInFlight) {
  ScriptedServer server;
  const auto first = std::make_shared<Gate>();
  const auto second = std::make_shared<Gate>();
  server.script("POST", "/",
                {Reply::json("one").held_by(first), Reply::json("two").held_by(second)});
  RawClient one(server.port());
  one.send("POST /one HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(server.wait_for_requests(1, kPatience));
  RawClient two(server.port());
  two.send("POST /two HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(server.wait_for_requests(2, kPatience));
  EXPECT_EQ(server.log()[0].replied.order, 0u);
  second->open();
  EXPECT_THAT(two.receive("two"), EndsWith("two"));
  first->open();
  EXPECT_THAT(one.receive("one"), EndsWith("one"));
  EXPECT_EQ(server.max_in_flight(), 2u);
  EXPECT_EQ(server.max_in_flight("/one"), 1u);
}

TEST(ScriptedServerTest, ADelayedReplyIsNotEarly) {
  ScriptedServer server;
  server.script("POST", "/", {Reply::json("{}").after(milliseconds(30))});
  ask(server, "/");
  const LoggedRequest request = server.log()[0];
  EXPECT_GE(request.replied.time - request.arrived.time, milliseconds(30));
}

// Spec X3.
TEST(ScriptedServerTest, X3_FaultsCutTheReplyWhereToldTo) {
  ScriptedServer server;
  server.script("POST", "/",
                {
                    Reply::broken(Fault::kClose, 1000, 10),
                    Reply::broken(Fault::kReset, 1000, 10),
                    Reply::broken(Fault::kHalfClose, 1000, 10),
                    Reply::hang_up(),
                    Reply::garbage("\x01\x02 nonsense"),
                });
  const std::string cut = "content-length: 1000\r\n\r\nxxxxxxxxxx";
  EXPECT_THAT(ask(server, "/"), EndsWith(cut));
  EXPECT_THAT(ask(server, "/"), EndsWith(cut));
  EXPECT_THAT(ask(server, "/"), EndsWith(cut));
  EXPECT_EQ(ask(server, "/"), "");
  EXPECT_EQ(ask(server, "/"), "\x01\x02 nonsense");
}

// Spec X3.
TEST(ScriptedServerTest, X3_ChunkedAndDrippedRepliesCarryTheSameBody) {
  ScriptedServer server;
  Reply chunked = Reply::json("hello");
  chunked.chunked = true;
  Reply cut = chunked;
  cut.fault = Fault::kReset;
  cut.fault_after = 2;
  Reply dripped = Reply::json("hello");
  dripped.drip_bytes = 7;
  server.script("POST", "/", {chunked, cut, dripped});
  EXPECT_THAT(ask(server, "/"), EndsWith("chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
  EXPECT_THAT(ask(server, "/"), EndsWith("chunked\r\n\r\n5\r\nhe"));
  EXPECT_THAT(ask(server, "/"), EndsWith("content-length: 5\r\n\r\nhello"));
}

// Spec X1.
TEST(ScriptedServerTest, X1_EachFaultIsOneLine) {
  ScriptedServer server;
  const std::string body = "0123456789";
  const std::vector<std::pair<Reply, std::string>> faults{
      {Reply::json(body).cut_after(4), "length: 10\r\n\r\n0123"},
      {Reply::json(body).cut_after(4, Fault::kReset), "length: 10\r\n\r\n0123"},
      {Reply::json(body).cut_after(4, Fault::kHalfClose), "length: 10\r\n\r\n0123"},
      {Reply::json(body).truncated_to(4), "length: 4\r\n\r\n0123"},
      {Reply::json(body).truncated_to(40), "length: 10\r\n\r\n0123456789"},
      {Reply::json(body).dripping(3, milliseconds(1)), "length: 10\r\n\r\n0123456789"},
      {Reply::json(body, 429).with_header("retry-after", "2"),
       "retry-after: 2\r\ncontent-length: 10\r\n\r\n0123456789"},
      {Reply::json("{}").labelled("text/html"), "type: text/html\r\ncontent-length: 2\r\n\r\n{}"},
      {Reply::bad_json(), R"("metrics":{"loss:su)"},
      {Reply::truncated_protobuf(), "length: 4\r\n\r\n\x0a\x7f\x0a\x05"},
  };
  for (const auto& [reply, ending] : faults) {
    server.script("POST", "/", {reply});
    EXPECT_THAT(ask(server, "/"), EndsWith(ending));
  }
}

TEST(ScriptedServerTest, ASlowDripTakesItsTime) {
  ScriptedServer server;
  server.script("POST", "/", {Reply::json("{}").dripping(10, milliseconds(2))});
  const std::size_t size = ask(server, "/").size();
  const LoggedRequest request = server.log()[0];
  EXPECT_GE(request.replied.time - request.arrived.time, milliseconds(2) * ((size + 9) / 10));
}

TEST(ScriptedServerTest, AReplyMayReleaseAnother) {
  ScriptedServer server;
  const auto gate = std::make_shared<Gate>();
  server.script("POST", "/held", {Reply::json("held").held_by(gate)});
  server.script("POST", "/first", {Reply::json("first").then_open(gate)});
  RawClient held(server.port());
  held.send("POST /held HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(server.wait_for_requests(1, kPatience));
  EXPECT_FALSE(gate->is_open());
  EXPECT_THAT(ask(server, "/first"), EndsWith("first"));
  EXPECT_THAT(held.receive("held"), EndsWith("held"));
  EXPECT_GT(server.log("/held")[0].replied.order, server.log("/first")[0].replied.order);
}

TEST(ScriptedServerTest, AClientThatLeavesDuringAHeldReplyIsNoticed) {
  ScriptedServer server;
  server.script("POST", "/", {Reply::json("{}").held_by(std::make_shared<Gate>())});
  {
    RawClient client(server.port());
    client.send("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    ASSERT_TRUE(server.wait_for_requests(1, kPatience));
  }
  while (!server.log()[0].client_left) std::this_thread::yield();
}

TEST(ScriptedServerTest, EndingTheServerEndsHeldConnectionsAndLateGatesAreHarmless) {
  const auto gate = std::make_shared<Gate>();
  auto server = std::make_unique<ScriptedServer>();
  server->script("POST", "/",
                 {Reply::json("{}").held_by(gate), Reply::broken(Fault::kStall, 100, 1)});
  RawClient held(server->port());
  held.send("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(server->wait_for_requests(1, kPatience));
  RawClient stalled(server->port());
  stalled.send("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  stalled.receive("\r\n\r\nx");
  server.reset();
  gate->open();
  EXPECT_EQ(held.receive(), "");
  EXPECT_EQ(stalled.receive(), "");
}

TEST(ScriptedServerTest, WaitingForRequestsThatDoNotComeEnds) {
  ScriptedServer server;
  EXPECT_FALSE(server.wait_for_requests(1, milliseconds(10)));
}

}  // namespace
}  // namespace tinkex::mocks
