// The two ways in: the in-process transport and the loopback server.

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <new>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "tinkex/service_client.h"
#include "torch_ext/local/embedded_backend.h"
#include "torch_ext/local/local_server.h"

namespace tinkex::torch_ext::local {
namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

HttpRequest request(const std::string& path, const std::string& body = "{}") {
  HttpRequest made;
  made.url = std::string(kEmbeddedBaseUrl) + "/api/v1/" + path;
  made.headers = {{"Content-Type", "application/json"}};
  auto bytes = std::make_shared<ByteBuffer>();
  bytes->append(body);
  made.body = std::move(bytes);
  return made;
}

class InProcessTest : public ::testing::Test {
 protected:
  std::future<Result<HttpResponse>> send(HttpRequest request) {
    auto promise = std::make_shared<std::promise<Result<HttpResponse>>>();
    last_id_ = transport_->send(std::move(request), [promise](Result<HttpResponse> result) {
      promise->set_value(std::move(result));
    });
    return promise->get_future();
  }
  Json post(const std::string& path, const Json& body) {
    const auto response = send(request(path, body.dump())).get();
    EXPECT_TRUE(response) << response.error().what();
    EXPECT_EQ(response->status, 200) << response->body;
    return Json::parse(response->body);
  }
  /// A poll that nothing will answer.
  HttpRequest endless_poll() {
    const std::string session = post("create_session", {{"tags", Json::array()}}).at("session_id");
    const Json model = post("create_model", {{"session_id", session},
                                             {"model_seq_id", 0},
                                             {"base_model", "tinkex/nano"},
                                             {"lora_config", {{"rank", 1}}}});
    const Json step = post("optim_step", {{"model_id", model["model_id"]}, {"seq_id", 2}});
    return request("retrieve_future", Json({{"request_id", step["request_id"]}}).dump());
  }

  std::shared_ptr<Transport> transport_ = start_embedded_backend().value();
  Transport::RequestId last_id_ = 0;
};

TEST_F(InProcessTest, ExchangesLookLikeHttp) {
  HttpRequest healthz;
  healthz.method = "GET";
  healthz.url = "http://embedded.local/api/v1/healthz";
  const auto response = send(healthz).get();
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->header("content-type"), "application/json");
  EXPECT_EQ(response->header("content-length"), std::to_string(response->body.size()));
  EXPECT_EQ(send(request("no/such/path")).get()->status, 404);
}

TEST_F(InProcessTest, HeaderNamesMayBeWrittenInAnyCase) {
  BackendOptions options;
  options.api_key = "tml-x";
  transport_ = start_embedded_backend(options).value();
  HttpRequest with_key = request("create_session");
  EXPECT_EQ(send(with_key).get()->status, 401);
  with_key.headers.emplace_back("X-API-Key", "tml-x");
  EXPECT_EQ(send(with_key).get()->status, 200);
}

TEST_F(InProcessTest, CancelledPollEndsAtOnce) {
  auto poll = send(endless_poll());
  transport_->cancel(last_id_);
  const auto result = poll.get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::kCancelled);
  transport_->cancel(last_id_);
  transport_->cancel(987654321);
}

TEST_F(InProcessTest, PollThatIsNotAnsweredInTimeTimesOut) {
  HttpRequest poll = endless_poll();
  poll.timeout = milliseconds(20);
  const auto begun = std::chrono::steady_clock::now();
  const auto result = send(poll).get();
  EXPECT_GE(std::chrono::steady_clock::now() - begun, milliseconds(20));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::kTimeout);
  EXPECT_TRUE(result.error().retryable()) << "as of any server";
}

TEST_F(InProcessTest, ReplyBeyondTheLimitIsRefused) {
  HttpRequest small = request("client/config");
  small.max_response_bytes = 10;
  const auto result = send(small).get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::kDecode);
}

TEST_F(InProcessTest, ShutdownEndsWhatIsPendingAndWhatComesLater) {
  auto poll = send(endless_poll());
  transport_->shutdown();
  EXPECT_EQ(poll.get().error().code(), ErrorCode::kClosed);
  EXPECT_EQ(send(request("create_session")).get().error().code(), ErrorCode::kClosed);
  transport_->shutdown();
}

TEST_F(InProcessTest, CallbackThatThrowsStopsNoLaterExchange) {
  transport_->send(request("create_session"),
                   [](const Result<HttpResponse>&) { throw std::bad_alloc(); });
  EXPECT_EQ(send(request("create_session")).get()->status, 200);
}

TEST_F(InProcessTest, LastReferenceMayGoInACallback) {
  std::promise<void> gone;
  std::promise<void> mine_gone;
  transport_->send(request("create_session"),
                   [&, held = transport_](const Result<HttpResponse>&) mutable {
                     mine_gone.get_future().wait();
                     held.reset();
                     gone.set_value();
                   });
  transport_.reset();
  mine_gone.set_value();
  gone.get_future().wait();
}

TEST_F(InProcessTest, EverySendIsAnsweredOnceThoughShutdownRaces) {
  constexpr int kThreads = 4;
  constexpr int kEach = 200;
  std::atomic<int> answers{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) {
        const auto id = transport_->send(request("create_session"),
                                         [&](const Result<HttpResponse>&) { ++answers; });
        if (i % 3 == 0) transport_->cancel(id);
      }
    });
  }
  while (answers.load() < kEach) std::this_thread::yield();
  transport_->shutdown();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answers.load(), kThreads * kEach);
}

/// Hands requests on, and counts those whose URL has a word in it.
class CountingTransport final : public Transport {
 public:
  CountingTransport(std::shared_ptr<Transport> to, std::string word)
      : to_(std::move(to)), word_(std::move(word)) {}

  RequestId send(HttpRequest request, Callback callback) noexcept override {
    if (request.url.find(word_) != std::string::npos) ++count_;
    return to_->send(std::move(request), std::move(callback));
  }
  void cancel(RequestId id) noexcept override { to_->cancel(id); }
  void shutdown() noexcept override { to_->shutdown(); }

  int count() const { return count_.load(); }

 private:
  const std::shared_ptr<Transport> to_;
  const std::string word_;
  std::atomic<int> count_{0};
};

TEST(ClientOfTheBackendTest, WhatFailsUntilAFolderIsMendedIsAskedForOnce) {
  const std::filesystem::path root = ::testing::TempDir() + "lasting";
  std::filesystem::create_directories(root);
  std::filesystem::create_directory_symlink("run", root / "run");  // It leads to itself.
  BackendOptions backend;
  backend.data_dir = root;
  const auto counting =
      std::make_shared<CountingTransport>(start_embedded_backend(backend).value(), "weights");
  ClientOptions options;
  options.base_url = kEmbeddedBaseUrl;
  options.api_key = "tml-x";
  options.transport = counting;
  options.retry.initial_backoff = options.retry.max_backoff = milliseconds(1);
  auto service = ServiceClient::connect(std::move(options)).value();
  const auto deleted = service.delete_checkpoint("tinker://run/weights/a").get();
  ASSERT_FALSE(deleted.ok());
  EXPECT_THAT(deleted.error().message(), HasSubstr("cannot look at"));
  EXPECT_EQ(counting->count(), 1);
  const auto trained = service.create_training_client_from_state("tinker://run/weights/a").get();
  ASSERT_FALSE(trained.ok());
  EXPECT_THAT(trained.error().message(), HasSubstr("cannot look at"));
  EXPECT_EQ(counting->count(), 2);
  std::filesystem::remove_all(root);
}

// Spec T12.
TEST(ClientOfTheBackendTest, T12_ASampleThatIsCancelledAtOnceIsNotComputed) {
  const auto called_off =
      std::make_shared<CountingTransport>(start_embedded_backend().value(), "cancel_future");
  const auto configured = std::make_shared<CountingTransport>(called_off, "dynamic_config");
  ClientOptions options;
  options.base_url = kEmbeddedBaseUrl;
  options.api_key = "tml-x";
  options.transport = configured;
  auto service = ServiceClient::connect(std::move(options)).value();
  auto client = service.create_sampling_client("tinkex/nano", std::nullopt).get().value();
  const ModelInput prompt = ModelInput::from_tokens({1, 2, 3});
  while (configured->count() == 0) std::this_thread::yield();
  // A sample that comes back is behind the configuration.
  ASSERT_TRUE(client.sample(prompt, 1, {.max_tokens = 1}).get().ok());
  auto much = client.sample(prompt, 1024, {.max_tokens = 100});
  much.cancel();
  EXPECT_TRUE(client.sample(prompt, 1, {.max_tokens = 1}).get().ok());
  EXPECT_EQ(called_off->count(), 1) << "it was computed to its end";
}

/// One exchange on a fresh connection that the server closes; what came back, whole.
std::string round_trip(const LocalServer& server, const std::string& text) {
  const std::string& url = server.base_url();
  const int file = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1))));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (::connect(file, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
      ::send(file, text.data(), text.size(), MSG_NOSIGNAL) >= 0) {
    char bytes[4096];
    for (ssize_t got; (got = ::read(file, bytes, sizeof(bytes))) > 0;) {
      answer.append(bytes, static_cast<std::size_t>(got));
    }
  }
  ::close(file);
  return answer;
}

std::string post_text(const std::string& path, const std::string& body) {
  return "POST /prefix/api/v1/" + path +
         " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
         "Content-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

TEST(LocalServerTest, WithoutAKeyOnlyThisMachineIsServed) {
  for (const char* host :
       {"127.example.org", "127.0.0.1.example.org", "127.1", "192.0.2.1", "::"}) {
    const auto server = LocalServer::start({.host = host});
    ASSERT_FALSE(server.ok()) << host;
    EXPECT_EQ(server.error().code(), ErrorCode::kInvalidArgument) << host;
    EXPECT_THAT(server.error().message(), HasSubstr("that needs an API key")) << host;
  }
}

TEST(LocalServerTest, ServesTheApiOverHttp) {
  const auto server = LocalServer::start({}).value();
  EXPECT_THAT(server->base_url(), StartsWith("http://127.0.0.1:"));
  const std::string session = round_trip(*server, post_text("create_session", R"({"tags":[]})"));
  EXPECT_THAT(session, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(session, HasSubstr("\"session_id\":\"session-"));
  const std::string malformed = round_trip(*server, post_text("create_session", "{"));
  EXPECT_THAT(malformed, StartsWith("HTTP/1.1 422"));
  EXPECT_THAT(malformed, HasSubstr("{\"detail\":\"the body is not valid JSON\"}"));
  EXPECT_THAT(round_trip(*server, post_text("no", "")), StartsWith("HTTP/1.1 404"));
}

TEST(LocalServerTest, BodyThatIsTooLargeIsRefusedUnread) {
  LocalServerOptions options;
  options.max_body_bytes = 100;
  const auto server = LocalServer::start(options).value();
  EXPECT_THAT(round_trip(*server, post_text("telemetry", std::string(101, ' '))),
              StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(round_trip(*server,
                         "POST /api/v1/telemetry HTTP/1.1\r\nHost: x\r\n"
                         "Content-Length: 99999999999999\r\n\r\n"),
              StartsWith("HTTP/1.1 413"));
}

TEST(LocalServerTest, PortInUseIsOneClearSentence) {
  const auto first = LocalServer::start({}).value();
  LocalServerOptions options;
  const std::string& url = first->base_url();
  options.port = static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  const auto second = LocalServer::start(options);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::kIo);
  EXPECT_THAT(second.error().message(), HasSubstr(std::to_string(options.port)));
}

TEST(LocalServerTest, OtherMachinesNeedAKey) {
  LocalServerOptions options;
  options.host = "0.0.0.0";
  const auto open = LocalServer::start(options);
  ASSERT_FALSE(open);
  EXPECT_EQ(open.error().code(), ErrorCode::kInvalidArgument);
  options.backend.api_key = "secret";
  const auto of_no_use = LocalServer::start(options);
  ASSERT_FALSE(of_no_use);
  EXPECT_THAT(of_no_use.error().message(), HasSubstr("tml-"));
  EXPECT_THAT(of_no_use.error().message(), Not(HasSubstr("secret")));
  options.backend.api_key = "tml-x";
  EXPECT_TRUE(LocalServer::start(options));
}

TEST(LocalServerTest, StopEndsConnectionsAndCanBeRepeated) {
  const auto server = LocalServer::start({}).value();
  server->stop();
  EXPECT_EQ(round_trip(*server, post_text("telemetry", "{}")), "");
  server->stop();
}

TEST(LocalServerTest, APortThatIsInUseIsSaidBeforeModelsAreLoaded) {
  const auto first = LocalServer::start({}).value();
  const std::string& url = first->base_url();
  LocalServerOptions options;
  options.port = static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  options.backend.base_models = {"/nowhere"};
  const auto second = LocalServer::start(options);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message(), HasSubstr("could not listen on"));
}

}  // namespace
}  // namespace tinkex::torch_ext::local
