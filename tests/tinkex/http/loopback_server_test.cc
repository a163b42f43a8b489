#include "tinkex/http/loopback_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <thread>
#include <vector>

#include "tests/tinkex/http/raw_client.h"

namespace tinkex::http {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::unique_ptr<LoopbackServer> serve(Handler handler, ServerOptions options = {}) {
  return LoopbackServer::start(std::move(options), std::move(handler)).value();
}

Handler echo() {
  return [](ServerRequest request, Respond respond) {
    std::string text = request.method + " " + request.target + " [" + request.body + "]";
    for (const auto& [name, value] : request.headers) text += " " + name + "=" + value;
    respond({200, {{"x-kind", "echo"}}, std::move(text)});
  };
}

std::string ask(const LoopbackServer& server, std::string_view request) {
  RawClient client(server.port());
  client.send(request);
  client.finish_sending();
  return client.receive();
}

TEST(LoopbackServerTest, HandsOnMethodTargetHeadersAndBody) {
  const auto server = serve(echo());
  const std::string reply =
      ask(*server,
          "POST /a/b?c=d HTTP/1.1\r\nHost: x\r\nX-Mixed-Case: V\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_THAT(reply, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(reply, HasSubstr("x-kind: echo\r\n"));
  EXPECT_THAT(reply, HasSubstr("POST /a/b?c=d [hi] host=x x-mixed-case=V content-length=2"));
}

TEST(LoopbackServerTest, KeepsTheConnectionForMoreRequests) {
  const auto server = serve(echo());
  RawClient client(server->port());
  for (int i = 0; i < 3; ++i) {
    client.send("GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(client.receive("host=x"), HasSubstr("GET /" + std::to_string(i) + " []"));
  }
  client.send("GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.receive(), HasSubstr("GET /last"));
}

TEST(LoopbackServerTest, AChunkedBodyArrivesWhole) {
  const auto server = serve(echo());
  EXPECT_THAT(ask(*server,
                  "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"),
              HasSubstr("[abcde]"));
}

TEST(LoopbackServerTest, ExpectContinueIsAnsweredBeforeTheBody) {
  const auto server = serve(echo());
  RawClient client(server->port());
  client.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_THAT(client.receive("\r\n\r\n"), StartsWith("HTTP/1.1 100"));
  client.send("abc");
  client.finish_sending();
  EXPECT_THAT(client.receive(), HasSubstr("[abc]"));
}

TEST(LoopbackServerTest, EmptyRepliesSayTheirLengthAndHeadSendsNoBody) {
  const auto server = serve([](ServerRequest, Respond respond) { respond({200, {}, ""}); });
  EXPECT_THAT(ask(*server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
              HasSubstr("Content-Length: 0\r\n"));
  const auto talking = serve([](ServerRequest, Respond respond) { respond({200, {}, "four"}); });
  const std::string reply = ask(*talking, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(reply, HasSubstr("Content-Length: 4\r\n"));
  EXPECT_THAT(reply, EndsWith("\r\n\r\n"));
}

TEST(LoopbackServerTest, ABodyBeyondTheLimitGets413) {
  const auto server = serve(echo(), {.max_body_bytes = 10});
  const std::string eleven = "12345678901";
  EXPECT_THAT(ask(*server, "POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n" + eleven),
              StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(ask(*server, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n" + eleven),
              AllOf(StartsWith("HTTP/1.1 413"), HasSubstr("limit of 10 bytes")));
  EXPECT_THAT(ask(*server, "POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n1234567890"),
              StartsWith("HTTP/1.1 200"));
}

TEST(LoopbackServerTest, TheRefusalOfALargeBodyReachesAClientThatKeepsSending) {
  const auto server = serve(echo(), {.max_body_bytes = 10});
  const std::string megabytes(8 << 20, 'x');
  EXPECT_THAT(ask(*server, "POST / HTTP/1.1\r\nContent-Length: 8388608\r\n\r\n" + megabytes),
              StartsWith("HTTP/1.1 413"));
}

TEST(LoopbackServerTest, MalformedRequestsGet400AndTheServerLivesOn) {
  const auto server = serve(echo());
  EXPECT_THAT(ask(*server, "this is not http\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 400"), HasSubstr("{\"detail\":")));
  EXPECT_THAT(ask(*server, "POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n"),
              StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(ask(*server, "GET / HTTP/1.1\r\nX: " + std::string(70'000, 'x')),
              StartsWith("HTTP/1.1 431"));
  EXPECT_EQ(ask(*server, "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nshort"), "");
  EXPECT_THAT(ask(*server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 200"));
}

TEST(LoopbackServerTest, AnExceptionInTheHandlerBecomesA500WithItsText) {
  const auto server = serve([](ServerRequest request, Respond) {
    if (request.target == "/int") throw 7;
    throw std::runtime_error("broken \"thing\" \xff");
  });
  EXPECT_THAT(ask(*server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 500"), HasSubstr("broken \\\"thing\\\"")));
  EXPECT_THAT(ask(*server, "GET /int HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 500"));
}

TEST(LoopbackServerTest, ADroppedAnswerBecomesA500) {
  const auto server = serve([](ServerRequest, Respond) {});
  EXPECT_THAT(ask(*server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 500"), HasSubstr("without an answer")));
}

TEST(LoopbackServerTest, OnlyTheFirstAnswerCounts) {
  const auto server = serve([](ServerRequest, Respond respond) {
    respond({201, {}, "first"});
    respond({202, {}, "second"});
  });
  const std::string reply = ask(*server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(reply, AllOf(StartsWith("HTTP/1.1 201"), EndsWith("first")));
}

TEST(LoopbackServerTest, HeadersCannotForgeOthersOrTheFraming) {
  const auto server = serve([](ServerRequest request, Respond respond) {
    if (request.target == "/split") return respond({200, {{"a", "b\r\nevil: yes"}}, "x"});
    respond({200, {{"Content-Length", "999"}, {"connection", "upgrade"}}, "x"});
  });
  EXPECT_THAT(ask(*server, "GET /split HTTP/1.1\r\nHost: x\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 500"), Not(HasSubstr("evil"))));
  EXPECT_THAT(ask(*server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
              AllOf(HasSubstr("Content-Length: 1\r\n"), Not(HasSubstr("upgrade"))));
}

TEST(LoopbackServerTest, AnswersMayComeLaterFromOtherThreadsInAnyOrder) {
  std::promise<Respond> held;
  const auto server = serve([&](ServerRequest request, Respond respond) {
    if (request.target == "/poll") return held.set_value(std::move(respond));
    respond({200, {}, "quick"});
  });
  RawClient poll(server->port());
  poll.send("GET /poll HTTP/1.1\r\nHost: x\r\n\r\n");
  Respond respond = held.get_future().get();
  EXPECT_THAT(ask(*server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), EndsWith("quick"));
  std::thread other([&] { respond({200, {}, "slow."}); });
  EXPECT_THAT(poll.receive("slow."), EndsWith("slow."));
  other.join();
}

TEST(LoopbackServerTest, AnAnswerAfterTheServerIsGoneDoesNothing) {
  std::promise<Respond> held;
  auto server = serve([&](ServerRequest, Respond respond) { held.set_value(std::move(respond)); });
  RawClient client(server->port());
  client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  const Respond respond = held.get_future().get();
  server.reset();
  EXPECT_EQ(client.receive(), "");
  respond({200, {}, "late"});
}

TEST(LoopbackServerTest, StopUnderLoadEndsEveryConnectionAndStartsNoHandler) {
  std::atomic<int> calls{0};
  auto server = serve(
      [&](ServerRequest, Respond respond) {
        calls.fetch_add(1);
        respond({200, {}, "x"});
      },
      {.threads = 2});
  const std::uint16_t port = server->port();
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([port] {
      try {
        for (;;) {
          RawClient client(port);
          client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
          if (client.receive("\r\n\r\nx").empty()) return;
        }
      } catch (const std::runtime_error&) {
        // Nobody listens any more.
      }
    });
  }
  while (calls.load() < 20) std::this_thread::yield();
  server->stop();
  const int after = calls.load();
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(calls.load(), after);
}

TEST(LoopbackServerTest, StopInsideAHandlerDoesNotWaitForItself) {
  std::unique_ptr<LoopbackServer> server;
  std::promise<void> stopped;
  std::promise<void> ready;
  auto started = ready.get_future().share();
  server = serve([&, started](ServerRequest, Respond) {
    started.wait();
    server->stop();
    stopped.set_value();
  });
  ready.set_value();
  RawClient client(server->port());
  client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  stopped.get_future().get();
  EXPECT_EQ(client.receive(), "");
}

TEST(LoopbackServerTest, APortInUseIsAnIoErrorThatNamesItAndTheRemedy) {
  const auto first = serve(echo());
  const auto second = LoopbackServer::start({.port = first->port()}, echo());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), ErrorCode::kIo);
  EXPECT_THAT(second.error().message(), HasSubstr("127.0.0.1:" + std::to_string(first->port())));
  EXPECT_THAT(second.error().message(), HasSubstr("choose another port"));
}

TEST(LoopbackServerTest, WrongOptionsAreRefused) {
  EXPECT_EQ(LoopbackServer::start({.threads = 0}, echo()).error().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(LoopbackServer::start({}, nullptr).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(LoopbackServer::start({.host = "192.0.2.1"}, echo()).error().code(), ErrorCode::kIo);
}

TEST(LoopbackServerTest, TheBaseUrlCanBeConnectedTo) {
  EXPECT_THAT(serve(echo())->base_url(), StartsWith("http://127.0.0.1:"));
  EXPECT_THAT(serve(echo(), {.host = "0.0.0.0"})->base_url(), StartsWith("http://127.0.0.1:"));
}

}  // namespace
}  // namespace tinkex::http
