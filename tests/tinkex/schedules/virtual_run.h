#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/tinkex/schedules/player.h"
#include "tests/tinkex/schedules/program.h"
#include "tests/tinkex/schedules/verdict.h"
#include "tests/tinkex/schedules/virtual_world.h"
#include "tinkex/connection/service_context.h"
#include "tinkex/mocks/tinker_operations.h"

namespace tinkex::testing {

/// One program on one virtual clock, from its first call to its last answer.
class VirtualRun {
 public:
  explicit VirtualRun(std::uint64_t seed);
  VirtualRun(const VirtualRun&) = delete;
  VirtualRun& operator=(const VirtualRun&) = delete;
  ~VirtualRun();

  /// Runs to the end; call it once.
  Evidence run();

  const Program& program() const { return program_; }
  std::string story() const { return world_.story(); }

 private:
  std::shared_ptr<internal::ServiceContext> make_service();
  Player::Clients make_clients();
  /// Null while the plan says that there is no server.
  std::unique_ptr<mocks::Reply> answer(const mocks::LoggedRequest& request);
  /// Does the next action of a thread, some time from now.
  void go_on(std::size_t thread);
  void act(std::size_t thread);
  void make_call(int index);
  void tell(int index, const std::string& what);

  const Program program_;
  Dice dice_;
  mocks::TinkerOperations server_;
  std::map<std::pair<int, std::size_t>, int> unreachable_;
  VirtualWorld world_;
  const std::shared_ptr<internal::ServiceContext> service_;
  Player player_;
  std::vector<std::size_t> at_;
};

}  // namespace tinkex::testing
