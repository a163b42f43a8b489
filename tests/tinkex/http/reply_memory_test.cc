#include "tinkex/http/reply_memory.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/tinkex/http/exchange.h"
#include "tinkex/http/io_thread.h"
#include "tinkex/mocks/scripted_server.h"

namespace tinkex::internal {
namespace {

constexpr std::size_t kLarge = 300'000;

TEST(ReplyMemoryTest, MemoryOfALargeReplyServesALaterOne) {
  ReplyMemory memory;
  std::string first = memory.take(kLarge);
  first.assign(kLarge, 'x');
  const char* const where = first.data();
  memory.give_back(std::move(first));
  const std::string second = memory.take(kLarge / 2);
  EXPECT_EQ(second.data(), where);
  EXPECT_TRUE(second.empty());
  EXPECT_GE(second.capacity(), kLarge);
}

TEST(ReplyMemoryTest, SmallRepliesNeitherTakeNorGiveMemory) {
  ReplyMemory memory;
  memory.give_back(std::string(100, 'x'));
  EXPECT_LT(memory.take(100'000).capacity(), 200'000U);
  memory.give_back(std::string(kLarge, 'x'));
  EXPECT_LT(memory.take(10).capacity(), 1'000U);
}

TEST(ReplyMemoryTest, ARecycledBodyCarriesTheNextReply) {
  mocks::ScriptedServer server;
  server.script("GET", "/",
                {mocks::Reply::json(std::string(kLarge, 'a')),
                 mocks::Reply::json(std::string(kLarge - 1, 'b'))});
  const auto io = IoThread::start(std::make_shared<SteadyClock>()).value();
  HttpRequest request;
  request.method = "GET";
  request.url = server.base_url();
  HttpResponse first = http::fetch(*io, request).value();
  const char* const where = first.body.data();
  io->recycle(std::move(first.body));
  const HttpResponse second = http::fetch(*io, request).value();
  EXPECT_EQ(second.body, std::string(kLarge - 1, 'b'));
  EXPECT_EQ(second.body.data(), where);
}

}  // namespace
}  // namespace tinkex::internal
