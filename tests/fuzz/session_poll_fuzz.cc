#include <array>
#include <map>
#include <memory>
#include <string>

#include "tests/fuzz/properties.h"
#include "tests/support/manual_runtime.h"
#include "tinkex/async/session_poll.h"

// The input is a list of replies to the poll of a sampling session, each a digit that chooses the
// status and a body, up to a NUL.

namespace {

using namespace tinkex;

constexpr std::array<int, 10> kStatuses = {200, 404, 400, 503, 429, 402, 408, 500, 204, 302};

class Session {
 public:
  ~Session() { world_.close(); }

  void wait_for(const std::string& id) {
    poll_->wait_for(id, this, [this, id](std::uint64_t) { ++told_[id]; });
    world_.executor->run_all();
  }
  void answer(std::string_view reply) {
    // Pauses end by themselves, and are never longer than this.
    if (world_.transport->open() == 0) world_.advance(std::chrono::minutes(2));
    if (world_.transport->open() == 0 || reply.empty()) return;
    const auto status = static_cast<std::size_t>(reply.front() - '0') % kStatuses.size();
    const fuzz::AllocationMeter meter;
    world_.reply(kStatuses[status], std::string(reply.substr(1)));
    TINKEX_FUZZ_CHECK(meter.peak() <= fuzz::allowed_memory(reply.size()));
  }
  /// Everybody is told once, at the latest when the service closes.
  void check_end() {
    world_.close();
    for (const char* id : {"a", "b", "c"}) TINKEX_FUZZ_CHECK(told_[id] == 1);
  }

 private:
  internal::SessionTarget target() const {
    internal::SessionTarget target;
    target.polls = std::make_shared<internal::PollGate>(1, world_.executor);
    return target;
  }

  testing::ManualRuntime world_;
  std::map<std::string, int> told_;
  std::shared_ptr<internal::SessionPoll> poll_ =
      std::make_shared<internal::SessionPoll>(world_.runtime, target());
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::ByteSource bytes(data, size);
  Session session;
  session.wait_for("a");
  session.wait_for("b");
  for (int i = 0; i < 64 && !bytes.empty(); ++i) session.answer(bytes.until('\0'));
  session.wait_for("c");  // may have been reported already
  session.check_end();
  return 0;
}
