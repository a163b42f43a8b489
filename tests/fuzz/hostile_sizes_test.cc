// Bodies too large for a fuzzer to come upon, through the same checks: what takes memory or time
// out of proportion ends the process or the test's time.

#include <gtest/gtest.h>

#include <string>

#include "tests/fuzz/properties.h"

namespace tinkex::fuzz {
namespace {

constexpr int kMany = 200'000;

std::string repeated(std::string_view text, int count) {
  std::string out;
  out.reserve(text.size() * static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

/// A length-delimited protobuf field.
std::string nested(int field, std::string_view content) {
  return varint(static_cast<std::uint64_t>(field * 8 + 2)) + varint(content.size()) +
         std::string(content);
}

void check_everything(std::string_view body) {
  for (const wire::Codec* codec : {&wire::json_codec(), &wire::proto_codec()}) {
    check_request(*codec, body, false);
    check_results(*codec, body);
  }
  HttpResponse reply;
  reply.body = std::string(body);
  for (const int status : {200, 408, 422, 503}) {
    reply.status = status;
    check_poll_reply(reply);
    check_error_of(reply);
  }
}

// Spec X3.
TEST(HostileSizesTest, X3_AMessageThatClaimsTwoGigabytes) {
  for (int field = 1; field <= 7; ++field) {
    for (const std::uint64_t claim : {0x7fff'ffffULL, 0xffff'ffffULL, ~0ULL}) {
      const std::string body = varint(static_cast<std::uint64_t>(field * 8 + 2)) + varint(claim);
      check_everything(body);
      check_everything(nested(field, body + "x"));
      check_everything(nested(2, nested(field, body)));
    }
  }
}

// Spec X3.
TEST(HostileSizesTest, X3_DatumsThatTakeNoBytesAreBounded) {
  for (const std::uint64_t claim : {65'536ULL, 65'537ULL, ~0ULL >> 1, ~0ULL}) {
    check_everything(nested(2, "\x18" + varint(claim)));
    check_everything(repeated(nested(2, "\x18" + varint(claim)), 100));
  }
}

// Spec X3.
TEST(HostileSizesTest, X3_AMillionMetrics) {
  std::string json = R"({"loss_fn_outputs":[],"metrics":{)";
  std::string proto;
  for (int i = 0; i < 1'000'000; ++i) {
    const std::string name = "m" + std::to_string(i);
    json += "\"" + name + "\":1,";
    proto += nested(3, nested(1, name) + "\x11" + std::string(8, '\0'));
  }
  json.back() = '}';
  check_everything(json + "}");
  check_everything(proto);
}

// Spec X3.
TEST(HostileSizesTest, X3_DeepNesting) {
  for (const std::string& body :
       {repeated("[", kMany), repeated("[", kMany) + repeated("]", kMany),
        repeated("{\"error\":", kMany), "{\"error\":" + repeated("[", 60) + repeated("]", 60) + "}",
        "{\"detail\":" + repeated("{\"a\":", kMany) + "1" + repeated("}", kMany) + "}"}) {
    check_everything(body);
  }
  std::string message;
  for (int i = 0; i < 1'000; ++i) message = nested(2, message);
  check_everything(message);
}

// Spec X3.
TEST(HostileSizesTest, X3_ManySmallPieces) {
  check_everything("{\"loss_fn_outputs\":[" + repeated("{},", kMany) + "{}]}");
  check_everything("{\"sequences\":[" + repeated("[],", kMany) + "[]]}");
  check_everything("{\"sequences\":[" +
                   repeated("{\"tokens\":[],\"stop_reason\":\"stop\"},", 100'000) +
                   "{\"tokens\":[],\"stop_reason\":\"stop\"}]}");
  check_everything("{\"topk_prompt_logprobs\":[" + repeated("null,", kMany) +
                   "[]],\"sequences\":[]}");
  for (int field = 1; field <= 7; ++field) {
    check_everything(repeated(nested(field, ""), kMany));
    check_everything(nested(2, repeated(nested(field, ""), kMany)));
  }
}

// Spec X3.
TEST(HostileSizesTest, X3_ALongNameOfManyDatums) {
  for (const std::size_t length : {256u, 100'000u}) {
    const std::string tensor =
        nested(2, std::string(8 * 100'001, '\0')) + "\x18\x01" + nested(4, repeated("\x01", 15));
    const std::string column = nested(1, std::string(length, 'n')) + nested(2, tensor);
    check_everything(nested(2, nested(2, column)));
  }
}

}  // namespace
}  // namespace tinkex::fuzz
