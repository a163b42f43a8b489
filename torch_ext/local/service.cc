#include "torch_ext/local/service.h"

#include <ATen/Parallel.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <utility>

#include "torch_ext/local/checkpoint.h"
#include "torch_ext/local/losses.h"
#include "torch_ext/local/timer_thread.h"
#include "torch_ext/local/weight_type.h"

namespace tinkex::torch_ext::local {
namespace {

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

std::string describe(const std::string& model_id, const Operation& operation,
                     const OperationResult& result, Clock::duration queued, Clock::duration ran) {
  char times[96];
  std::snprintf(times, sizeof(times), " queued %.3f s, ran %.3f s: ", seconds(queued),
                seconds(ran));
  return std::string(to_string(operation.kind)) + " " + model_id +
         (operation.seq_id > 0 ? " seq " + std::to_string(operation.seq_id) : "") + times +
         (result ? "ok" : "failed: " + result.error().message());
}

}  // namespace

std::int64_t unix_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string iso_time(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts = {};
  ::gmtime_r(&time, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

Result<std::shared_ptr<Service>> Service::create(BackendOptions options) {
  const Status losses = check_own_losses(options.losses);
  if (!losses) return losses.error();
  Result<std::unique_ptr<CheckpointTree>> tree = CheckpointTree::open(options.data_dir);
  if (!tree) return tree.error();
  Result<std::unique_ptr<ModelShelf>> models =
      ModelShelf::load(options.base_models, scalar_type(options.weight_type), options.stop_loading);
  if (!models) return models.error();
  const std::shared_ptr<Service> service(
      new Service(std::move(options), *std::move(tree), *std::move(models)));
  for (const std::string& line : service->models_->memory_lines()) service->log(line);
  return service;
}

Service::Service(BackendOptions options, std::unique_ptr<CheckpointTree> checkpoints,
                 std::unique_ptr<ModelShelf> models)
    : options_(std::move(options)),
      checkpoints_(std::move(checkpoints)),
      models_(std::move(models)),
      registry_(options_.max_sampling_sessions),
      clock_(options_.clock ? options_.clock : std::make_shared<SteadyClock>()),
      timers_(options_.timers ? options_.timers : std::make_shared<TimerThread>()),
      futures_(
          FutureStore::create({clock_, timers_, options_.poll_hold, options_.max_result_bytes})),
      compute_(std::make_shared<ComputeThread>([threads = options_.threads] {
        // Without this call the thread's first matrix product ignores the number of threads.
        at::init_num_threads();
        if (threads > 0) at::set_num_threads(threads);
      })) {}

void Service::shutdown() noexcept {
  registry_.cancel_all();
  compute_->stop();
  futures_->close(Error(ErrorCode::kClosed, "the backend was shut down before this was done")
                      .with_category(ErrorCategory::kServer));
}

std::shared_ptr<Model> Service::add_model(std::string id, std::string session_id,
                                          std::map<std::string, std::string> user_metadata) {
  auto model = std::make_shared<Model>();
  model->id = std::move(id);
  model->session_id = std::move(session_id);
  model->user_metadata = std::move(user_metadata);
  model->last_request = unix_seconds();
  OperationQueue::Options queue{.model_id = model->id,
                                .session_id = model->session_id,
                                .futures = futures_,
                                .compute = compute_,
                                .timers = timers_,
                                .clock = clock_,
                                .gap_timeout = options_.gap_timeout,
                                .max_operations = options_.max_queued_operations,
                                .max_bytes = options_.max_queued_bytes,
                                .discard_gradients = {},
                                .on_finished = {}};
  // The queue belongs to the model, so what it calls must not keep the model alive.
  queue.discard_gradients = [weak = std::weak_ptr<Model>(model)] {
    const auto model = weak.lock();
    if (model && model->run) model->run->discard_gradients();
  };
  if (options_.verbose) {
    queue.on_finished = [this, id = model->id](const Operation& operation,
                                               const OperationResult& result,
                                               Clock::duration queued, Clock::duration ran) {
      log(describe(id, operation, result, queued, ran));
    };
  }
  model->queue = std::make_shared<OperationQueue>(std::move(queue));
  return registry_.add_model(model) ? model : nullptr;
}

void Service::finish_session(const std::string& session_id) {
  const Error reason =
      Error(ErrorCode::kClosed, "the session " + session_id + " was finished before this was done")
          .with_category(ErrorCategory::kUser);
  Registry::Ended ended = registry_.finish_session(session_id);
  for (const auto& sampler : ended.samplers) sampler->cancelled.store(true);
  for (const auto& model : ended.models) {
    model->cancelled.store(true);
    model->queue->abandon(reason);
    compute_->post(model->id, [model] { model->run.reset(); });
  }
  futures_->close_session(session_id, reason);
}

Status Service::load_sampler(SamplingSession& sampler) {
  if (!sampler.model_path) {
    auto model = models_->model(sampler.base_model);
    if (!model) return model.error();
    sampler.model = *std::move(model);
    return ok_status();
  }
  const auto path = CheckpointPath::parse(*sampler.model_path);
  if (!path) return path.error();
  const auto directory = checkpoints_->find(*path);
  if (!directory) return directory.error();
  const auto info = read_checkpoint_info(*directory);
  if (!info) return info.error();
  auto model = models_->model(info->base_model);
  if (!model) return model.error();
  auto adapter = read_adapter(*directory, **model);
  if (!adapter) return adapter.error();
  sampler.base_model = info->base_model;
  sampler.model = *std::move(model);
  sampler.adapter = *std::move(adapter);
  return ok_status();
}

bool Service::admit_sample() noexcept {
  if (waiting_samples_.fetch_add(1) < options_.max_queued_samples) return true;
  waiting_samples_.fetch_sub(1);
  return false;
}

void Service::log(const std::string& line) const {
  if (options_.verbose) std::fputs(("tinkex: " + line + "\n").c_str(), stderr);
}

}  // namespace tinkex::torch_ext::local
