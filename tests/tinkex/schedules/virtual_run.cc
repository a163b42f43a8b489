#include "tests/tinkex/schedules/virtual_run.h"

#include "tinkex/connection/remote_sampling.h"
#include "tinkex/connection/remote_training.h"
#include "tinkex/limits/rate_limiter_registry.h"
#include "tinkex/mocks/tinker_script.h"

namespace tinkex::testing {
namespace {

constexpr int kLongestThought = 200;  // ms between two actions of a thread

const ProgramLimits kLimits{
    .faults = {.max_attempts = 16, .virtual_time = true}, .threads = 3, .calls_per_thread = 6};

}  // namespace

VirtualRun::VirtualRun(std::uint64_t seed)
    : program_(make_program(seed, kLimits)),
      dice_(seed + 1),
      world_(seed, [this](const auto& request) { return answer(request); }),
      service_(make_service()),
      player_(program_, make_clients()),
      at_(program_.threads.size()) {
  server_.plan_each(
      [this](const mocks::Operation& operation) { return program_.server_plan(operation); });
}

VirtualRun::~VirtualRun() {
  world_.close();
  (void)world_.run_until_rest();  // what is still to happen may speak of the members below
}

Evidence VirtualRun::run() {
  for (std::size_t thread = 0; thread < program_.threads.size(); ++thread) go_on(thread);
  const bool ends = world_.run_until_rest();
  for (const int call : program_.afterwards) make_call(call);
  const bool rests = ends && world_.run_until_rest();
  return {.program = program_,
          .operations = server_.operations({}),
          .log = world_.log(),
          .outcomes = player_.outcomes(),
          .closed = world_.closed(),
          .one_order = true,
          .at_rest = rests,
          .punctual = world_.punctual(),
          .endless = !rests};
}

std::shared_ptr<internal::ServiceContext> VirtualRun::make_service() {
  auto service = std::make_shared<internal::ServiceContext>();
  service->options.base_url = "http://127.0.0.1";
  service->options.wire_format = program_.format;
  service->options.chunk_limits.max_examples = kChunkExamples;
  service->options.parallel_chunks = program_.parallel;
  service->options.retry.max_attempts = program_.attempts;
  service->options.sample_retry.max_attempts = program_.sample_attempts;
  service->runtime = world_.runtime();
  service->polls =
      std::make_shared<internal::PollGate>(program_.max_polls, world_.runtime()->executor);
  service->result_bytes = std::make_shared<internal::PollGate>(service->options.max_result_bytes,
                                                               world_.runtime()->executor);
  service->cancels = std::make_shared<internal::PollGate>(4, world_.runtime()->executor);
  service->limiter = RateLimiterRegistry(world_.runtime()->clock)
                         .get(internal::LimiterKey(service->options.base_url, Secret()));
  service->sampling = std::make_shared<internal::SamplingRegistry>();
  service->session_id = "session-1";
  return service;
}

Player::Clients VirtualRun::make_clients() {
  Player::Clients clients;
  for (int i = 1; i <= kClients; ++i) {
    ModelInfo info;
    info.model_id = "model-" + std::to_string(i);
    clients.models.emplace_back(internal::RemoteTraining::create(service_, info));
    clients.samplers.push_back(
        internal::make_sampling_client(service_, "sampler-" + std::to_string(i)).value());
  }
  return clients;
}

std::unique_ptr<mocks::Reply> VirtualRun::answer(const mocks::LoggedRequest& request) {
  const std::string endpoint = request.target.substr(mocks::TinkerScript::path("").size());
  if (endpoint == "retrieve_future") return std::make_unique<mocks::Reply>(server_.poll(request));
  const auto operation = mocks::read_operation(endpoint, request);
  const auto place = operation.ok() ? program_.find(*operation) : std::nullopt;
  if (place && !place->filler) {
    int& left =
        unreachable_.try_emplace({place->call, place->request}, program_.plan(*place).unreachable)
            .first->second;
    if (left-- > 0) return nullptr;
  }
  return std::make_unique<mocks::Reply>(server_.submit(endpoint, request));
}

void VirtualRun::go_on(std::size_t thread) {
  world_.after(world_.random_pause(kLongestThought), [this, thread] { act(thread); });
}

void VirtualRun::act(std::size_t thread) {
  if (at_[thread] == program_.threads[thread].size()) return;
  const Action action = program_.threads[thread][at_[thread]++];
  switch (action.kind) {
    case Action::Kind::kCall:
      // Some calls are made by a continuation.
      if (dice_.once_in(5)) {
        return run_on(world_.runtime()->executor.get(), [this, thread, action] {
          make_call(action.call);
          go_on(thread);
        });
      }
      make_call(action.call);
      break;
    case Action::Kind::kCancel:
      tell(action.call, "is cancelled");
      player_.cancel(action.call);
      break;
    case Action::Kind::kDrop: player_.drop(action.call); break;
    case Action::Kind::kWait:
      return player_.when_ready(action.call, [this, thread](const auto&) { go_on(thread); });
    case Action::Kind::kClose:
      world_.close();
      service_->wake_strands();
      break;
  }
  go_on(thread);
}

void VirtualRun::make_call(int index) {
  const Call& call = program_.calls[static_cast<std::size_t>(index)];
  tell(index, "is called by thread " + std::to_string(call.thread));
  for (std::size_t i = 0; i < call.requests.size(); ++i) {
    if (call.requests[i].text.empty()) continue;
    world_.tell("  plan of request " + std::to_string(i) + ": " + call.requests[i].text);
  }
  player_.call(index);
  const Clock::time_point called = world_.runtime()->clock->now();
  player_.when_ready(index, [this, index, called](const std::string& how) {
    player_.took(index, world_.runtime()->clock->now() - called);
    tell(index, how);
  });
}

void VirtualRun::tell(int index, const std::string& what) {
  world_.tell(program_.calls[static_cast<std::size_t>(index)].text() + " " + what);
}

}  // namespace tinkex::testing
