#include "tinkex/session/service_core.h"

#include <algorithm>
#include <cstdio>
#include <initializer_list>
#include <limits>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>

#include "tinkex/api/messages.h"
#include "tinkex/clock.h"
#include "tinkex/config/env.h"
#include "tinkex/config/resolve.h"
#include "tinkex/connection/call.h"
#include "tinkex/http/io_thread.h"
#include "tinkex/limits/limiter_key.h"
#include "tinkex/limits/rate_limiter_registry.h"

namespace tinkex::internal {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kHeartbeatTimeout{10'000};
constexpr milliseconds kFinishTimeout{1'000};
/// cancel_future calls at a time; the default of the API's own client.
constexpr std::size_t kMaxCancels = 64;
/// For the calls that open a session, so that a wrong base URL is told within some seconds. A
/// server that says when to ask again, as one does that loads its models, is waited for.
constexpr int kConnectAttempts = 4;

HttpRequest with_body(HttpRequest request, std::shared_ptr<const ByteBuffer> body) {
  request.body = std::move(body);
  return request;
}

Result<std::string> body_of(const HttpResponse& reply) { return reply.body; }

/// The value of the first of these variables that is set.
std::string first_of_env(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (auto value = read_env(name)) return *std::move(value);
  }
  return {};
}

/// With the variables that libcurl takes, in its order. HTTP_PROXY is none of them: a web server
/// sets it to what a request says.
CurlSettings curl_settings(const ClientOptions& options) {
  return {.ca_file = options.ca_file,
          .http_proxy = first_of_env({"http_proxy", "all_proxy", "ALL_PROXY"}),
          .https_proxy = first_of_env({"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}),
          .no_proxy = first_of_env({"no_proxy", "NO_PROXY"}),
          .unacknowledged_timeout =
              std::max(CurlSettings().unacknowledged_timeout, options.request_timeout)};
}

/// A window is a time on a clock, so clients with a clock of their own share nothing by default.
std::shared_ptr<RateLimiterRegistry> limiters_of(const ClientOptions& options) {
  if (options.rate_limiters) return options.rate_limiters;
  return options.clock ? std::make_shared<RateLimiterRegistry>()
                       : RateLimiterRegistry::process_wide();
}

/// Polls hold their connections for long; the rest is for everything that must not wait for them.
std::size_t most_polls(const ClientOptions& options, const IoThread& io) {
  if (options.transport) return options.max_concurrent_polls;
  return std::min(options.max_concurrent_polls, std::max<std::size_t>(1, io.max_connections() / 2));
}

/// Said once in a process, when polls begin to wait for others, if the caller could have more of
/// them.
std::function<void()> notice_of_few_polls(std::size_t polls, std::size_t wanted) {
  if (polls >= wanted) return nullptr;
  return [polls, wanted] {
    static std::once_flag said;
    std::call_once(said, [polls, wanted] {
      std::fprintf(stderr,
                   "tinkex: %zu results are asked for at the same time, not %zu, because of this "
                   "process's limit of open files; raise it (ulimit -n) to wait for more at once\n",
                   polls, wanted);
    });
  };
}

}  // namespace

Result<std::shared_ptr<ServiceCore>> ServiceCore::connect(ClientOptions options) {
  Result<ClientOptions> resolved = resolve_options(std::move(options));
  if (!resolved.ok()) return resolved.error();
  const auto open = [&resolved]() -> Result<std::shared_ptr<ServiceCore>> {
    std::shared_ptr<ServiceCore> core(new ServiceCore);
    Status ready = core->start_runtime(*std::move(resolved));
    if (ready.ok()) ready = core->open_session();
    if (!ready.ok()) return std::move(ready).error();
    return core;
  };
  return invoke_guarded<std::shared_ptr<ServiceCore>>(open);
}

Status ServiceCore::start_runtime(ClientOptions options) {
  context_ = std::make_shared<ServiceContext>();
  ServiceContext& context = *context_;
  context.options = std::move(options);
  const ClientOptions& settings = context.options;

  auto runtime = std::make_shared<Runtime>();
  runtime->clock = settings.clock ? settings.clock : std::make_shared<SteadyClock>();
  Result<std::shared_ptr<IoThread>> io = IoThread::start(runtime->clock, curl_settings(settings));
  if (!io.ok()) return io.error();
  io_ = *std::move(io);
  if (!settings.executor) {
    own_executor_ = std::make_shared<TbbExecutor>(settings.executor_threads);
  }
  runtime->executor = settings.executor ? settings.executor : own_executor_;
  runtime->transport = settings.transport ? settings.transport : io_;
  runtime->timers = io_;
  runtime->buffers = BufferPool::create();
  runtime->random = std::make_shared<RandomSource>();

  context.limiter = limiters_of(settings)->get(LimiterKey(settings.base_url, settings.api_key));
  const std::size_t polls = most_polls(settings, *io_);
  context.polls = std::make_shared<PollGate>(
      polls, runtime->executor, notice_of_few_polls(polls, settings.max_concurrent_polls));
  context.cancels = std::make_shared<PollGate>(kMaxCancels, runtime->executor);
  context.sampling = std::make_shared<SamplingRegistry>();
  context.runtime = std::move(runtime);
  return ok_status();
}

Status ServiceCore::open_session() {
  const std::shared_ptr<const ServiceContext> service = context_;
  Result<std::string> config =
      send_call<std::string>(service, {.what = "client/config",
                                       .http = with_body(service->request("client/config"),
                                                         api::client_config_request()),
                                       .decode = body_of,
                                       .most_attempts = kConnectAttempts})
          .get();
  if (config.ok()) {
    apply_server_config(*config);
  } else if (config.error().http_status() != 404) {  // older servers do not have it
    return config.error();
  }
  Result<std::string> session =
      send_call<std::string>(
          service,
          {.what = "create_session",
           .http = with_body(service->request("create_session"),
                             api::create_session_request(service->options)),
           .decode = [](const HttpResponse& reply) { return api::parse_session_id(reply.body); },
           .most_attempts = kConnectAttempts})
          .get();
  if (!session.ok() && session.error().code() == ErrorCode::kDecode) {
    return Error(session.error())
        .with_context("no Tinker server seems to be at " + context_->options.base_url);
  }
  if (!session.ok()) return session.error();
  context_->session_id = *std::move(session);
  context_->result_bytes =
      std::make_shared<PollGate>(context_->options.max_result_bytes, context_->runtime->executor);

  start_heartbeat();
  start_config_refresh();
  return ok_status();
}

void ServiceCore::start_heartbeat() {
  HttpRequest beat = with_body(context_->request("session_heartbeat"),
                               api::session_request(context_->session_id, "session_heartbeat"));
  beat.timeout = kHeartbeatTimeout;
  beat.urgent = true;
  heartbeat_ = std::make_shared<Heartbeat>(context_->runtime, std::move(beat),
                                           context_->options.heartbeat_interval);
  heartbeat_->start();
}

void ServiceCore::start_config_refresh() {
  HttpRequest request =
      with_body(context_->request("client/dynamic_config"), api::client_config_request());
  request.timeout = kHeartbeatTimeout;
  const auto apply =
      [weak = std::weak_ptr<ServiceContext>(context_)](const api::DynamicConfig& config) {
        if (const auto context = weak.lock()) {
          context->cancel_enabled.store(config.sample_cancel_enabled);
        }
      };
  config_refresh_ = std::make_shared<ConfigRefresh>(context_->runtime, std::move(request), apply);
  config_refresh_->start();
}

void ServiceCore::apply_server_config(std::string_view body) {
  const api::ServerConfig server = api::parse_client_config(body);
  ClientOptions& options = context_->options;
  context_->retrieve_futures = server.retrieve_futures;
  options.parallel_chunks = options.parallel_chunks && server.parallel_chunks;
  if (server.max_result_bytes) {
    options.max_result_bytes = std::min(options.max_result_bytes, *server.max_result_bytes);
  }
  ChunkLimits& limits = options.chunk_limits;
  const bool larger = context_->options.accept_larger_server_chunks;
  if (server.max_chunk_examples) {
    limits.max_examples = larger ? *server.max_chunk_examples
                                 : std::min(limits.max_examples, *server.max_chunk_examples);
  }
  if (server.max_chunk_bytes) {
    limits.max_bytes = larger || !limits.max_bytes
                           ? *server.max_chunk_bytes
                           : std::min(*limits.max_bytes, *server.max_chunk_bytes);
    // The server counts bytes; the older count of numbers would cut earlier.
    if (larger) limits.max_numbers = std::numeric_limits<std::size_t>::max();
  }
}

ServiceCore::~ServiceCore() {
  if (in_forked_child()) {
    give_up();
  } else {
    close();
  }
}

bool ServiceCore::in_forked_child() const {
  return context_ && context_->process.in_forked_child();
}

void ServiceCore::give_up() {
  new auto(std::make_tuple(std::move(context_), std::move(io_), std::move(own_executor_),
                           std::move(heartbeat_), std::move(config_refresh_)));
}

void ServiceCore::tell_finished() {
  HttpRequest finish = with_body(context_->request("sessions/" + context_->session_id + "/finish"),
                                 api::finish_session_request());
  finish.urgent = true;  // what waits for connections would outlast the time that there is
  const auto told = std::make_shared<ResultCell<HttpResponse>>(nullptr);
  context_->runtime->transport->send(
      std::move(finish), [told](Result<HttpResponse> reply) { told->set(std::move(reply)); });
  if (context_->runtime->executor->is_worker_thread()) return;
  told->wait_until(deadline_after(std::chrono::steady_clock::now(),
                                  std::min(kFinishTimeout, context_->options.close_timeout)));
}

void ServiceCore::close() {
  if (in_forked_child()) return;
  {
    MutexLock lock(mutex_);
    if (closed_) return;
    closed_ = true;
  }
  if (!context_ || !context_->runtime) return;  // it never came to life
  Runtime& runtime = *context_->runtime;
  const auto deadline =
      deadline_after(std::chrono::steady_clock::now(), context_->options.close_timeout);
  // First, so that what the server then says of requests under way counts as closed.
  runtime.closed.store(true);
  if (heartbeat_) {
    heartbeat_->cancel();
    if (config_refresh_) config_refresh_->cancel();
    tell_finished();
  }
  runtime.transport->shutdown();
  io_->shutdown();
  context_->wake_strands();
  if (own_executor_ && !own_executor_->is_worker_thread()) own_executor_->shutdown(deadline);
}

}  // namespace tinkex::internal
