// Sampling sessions and samples.

#include "torch_ext/local/sampler.h"

#include <chrono>
#include <memory>
#include <utility>

#include "torch_ext/local/api.h"
#include "torch_ext/local/checkpoint_tree.h"
#include "torch_ext/local/config.h"
#include "torch_ext/local/guard.h"
#include "torch_ext/local/json_fields.h"
#include "torch_ext/local/sample_call.h"
#include "torch_ext/local/service.h"

namespace tinkex::torch_ext::local {
namespace {

using nlohmann::json;

/// Opening sessions has a lane of its own, so that it waits for running operations only.
constexpr char kOpenLane[] = "open";
constexpr char kSampleLane[] = "sample";

Reply unknown_sampler(const std::string& id) {
  return error_reply(404, "sampling session '" + id +
                              "' is unknown to this server; its session was finished, it was not "
                              "used for long, or the server was restarted");
}

Reply opened(const std::string& id) {
  return json_reply({{"type", "create_sampling_session"}, {"sampling_session_id", id}});
}

/// Which weights a request wants; exactly one of the two. A complaint is left in `in`.
void read_weights(const Service& service, JsonFields& in, SamplingSession& sampler) {
  const auto base_model = in.optional_string("base_model");
  sampler.model_path = in.optional_string("model_path");
  if (sampler.model_path) {  // It says which base model it belongs to.
    if (const auto path = CheckpointPath::parse(*sampler.model_path); !path) {
      in.refuse("model_path", path.error().message());
    }
  } else if (!base_model) {
    in.refuse("base_model", "give either base_model or model_path");
  } else if (const auto config = service.models().config(*base_model); !config) {
    in.refuse("base_model", config.error().message());
  } else {
    sampler.base_model = config->name;
  }
}

/// Compute thread: loads the weights, then makes the session known.
Reply open_session(Service& service, const std::shared_ptr<SamplingSession>& sampler,
                   std::int64_t number) {
  const Status loaded = guarded([&] { return service.load_sampler(*sampler); });
  if (loaded && service.registry().add_sampler(sampler, number)) return opened(sampler->id);
  service.registry().forget_creation(Registry::Kind::kSampler, sampler->session_id, number);
  if (loaded) return error_reply(404, "session '" + sampler->session_id + "' was finished");
  const bool ours = loaded.error().code() == ErrorCode::kInternal;
  return error_reply(ours ? 500 : 404, loaded.error().message());
}

/// The first request is ahead in the lane, so a repeat finds what it led to.
Reply repeat_open(const std::shared_ptr<SamplingSession>& first) {
  if (first != nullptr && !first->id.empty()) return opened(first->id);
  return error_reply(404, "the first request with this sampling_session_seq_id failed");
}

void create_sampling_session(Service& service, const Call& call, const Responder& respond) {
  JsonFields in(call.body);
  auto sampler = std::make_shared<SamplingSession>();
  sampler->session_id = in.string("session_id");
  const std::int64_t number = in.integer("sampling_session_seq_id");
  read_weights(service, in, *sampler);
  if (!in.ok()) return respond(unprocessable(in.error()));
  const auto [state, creation] = service.registry().begin_creation(
      Registry::Kind::kSampler, sampler->session_id, number, BodyDigest::of(call.body), [&] {
        return Registry::Creation{{}, "", sampler};
      });
  if (state == Registry::CreationState::kNoSession) {
    return respond(
        error_reply(404, "session '" + sampler->session_id + "' is unknown or was finished"));
  }
  if (state == Registry::CreationState::kConflict) {
    return respond(error_reply(409, "sampling_session_seq_id " + std::to_string(number) +
                                        " of session " + sampler->session_id +
                                        " was already used by a different request"));
  }
  const bool posted = service.compute().post(
      kOpenLane, state == Registry::CreationState::kRepeated
                     ? ComputeThread::Task([first = creation.sampler, respond] {
                         respond_with(respond, [&] { return repeat_open(first.lock()); });
                       })
                     : [&service, sampler, number, respond] {
                         respond_with(respond,
                                      [&] { return open_session(service, sampler, number); });
                       });
  if (!posted) respond(error_reply(503, "the server is shutting down"));
}

Reply get_sampler(Service& service, const Call& call) {
  const std::string& id = call.parameters.find("sampler_id")->second;
  const auto sampler = service.registry().find_sampler(id);
  if (sampler == nullptr) return unknown_sampler(id);
  json reply = {{"sampler_id", id}, {"base_model", sampler->base_model}};
  if (sampler->model_path) reply["model_path"] = *sampler->model_path;
  return json_reply(reply);
}

/// How long one session's samples keep the compute thread before others get their turn.
constexpr std::chrono::milliseconds kSlice{50};

/// Compute thread: gives a sample to the session's engine.
void begin_sample(Service& service, const std::shared_ptr<SamplingSession>& sampler,
                  SampleInbox::Sample sample) {
  const auto is_given_up = [given_up = sample.given_up] {
    return given_up != nullptr && given_up->load();
  };
  const auto finish = [&service, id = sampler->id, request_id = std::move(sample.request_id),
                       is_given_up](Result<SampleResponse> response) {
    service.finish_sample();
    service.log("sample " + id + (response ? ": ok" : ": " + response.error().message()));
    if (!response) {
      Error error = std::move(response).error();
      // What its caller called off is not worth a repeat; what the server's end cut short is.
      if (error.code() == ErrorCode::kCancelled && is_given_up()) {
        error = std::move(error).with_category(ErrorCategory::kUser);
      }
      return service.futures().settle(request_id, std::move(error));
    }
    for (std::size_t i = 0; i < response->sequences.size(); ++i) {
      response->sequences[i].sequence_id = sample_sequence_id(request_id, i);
    }
    service.futures().settle(request_id, OperationOutput(*std::move(response)));
  };
  if (is_given_up()) return finish(sample_cancelled());
  const Status ready = guarded([&]() -> Status {
    if (sampler->model == nullptr) {  // A sample that names its weights instead of a session.
      if (Status loaded = service.load_sampler(*sampler); !loaded) return loaded;
    }
    if (sampler->engine == nullptr) {
      sampler->engine = std::make_unique<SampleEngine>(sampler->model, sampler->adapter);
    }
    // The engine is the session's, so it never asks when that is gone.
    const auto cancelled = [is_given_up, &of_session = sampler->cancelled] {
      return is_given_up() || of_session.load();
    };
    sampler->engine->add(std::move(sample.request), cancelled, finish);
    return ok_status();
  });
  if (!ready) finish(ready.error());
}

/// Compute thread: works on the session's samples for a while.
void serve_samples(Service& service, const std::shared_ptr<SamplingSession>& sampler) {
  const Clock::time_point until = service.clock().now() + kSlice;
  do {
    for (SampleInbox::Sample& sample : sampler->inbox.take()) {
      begin_sample(service, sampler, std::move(sample));
    }
    if (sampler->engine != nullptr && !sampler->engine->idle()) {
      const Status stepped = guarded([&]() -> Status {
        sampler->engine->step();
        return ok_status();
      });
      if (!stepped) sampler->engine->fail_all(stepped.error());
    } else if (sampler->inbox.rest()) {
      return;
    }
  } while (service.clock().now() < until);
  service.compute().post(kSampleLane, [&service, sampler] { serve_samples(service, sampler); });
}

void post_sample(Service& service, const std::shared_ptr<SamplingSession>& sampler,
                 SampleInbox::Sample sample) {
  if (!sampler->inbox.put(std::move(sample))) return;
  service.compute().post(kSampleLane, [&service, sampler] { serve_samples(service, sampler); });
}

Reply accepted(const std::string& request_id, std::int64_t num_samples) {
  json ids = json::array();
  for (std::int64_t i = 0; i < num_samples; ++i) ids.push_back(sample_sequence_id(request_id, i));
  return json_reply({{"request_id", request_id}, {"sample_sequence_ids", std::move(ids)}});
}

Reply asample(Service& service, const Call& call) {
  JsonFields in(call.body);
  SampleCall wanted = SampleCall::read(in);
  auto sampler = std::make_shared<SamplingSession>();
  if (!wanted.sampling_session_id) read_weights(service, in, *sampler);
  if (!in.ok()) return unprocessable(in.error());
  if (wanted.sampling_session_id) {
    sampler = service.registry().find_sampler(*wanted.sampling_session_id);
    if (sampler == nullptr) return unknown_sampler(*wanted.sampling_session_id);
  } else {
    service.registry().watch_sampler(sampler);
  }
  const std::int64_t num_samples = wanted.request.num_samples;
  bool repeated = false;
  const auto fresh = [&] { return service.futures().open(sampler->session_id); };
  if (!service.admit_sample()) return busy("too many samples wait; send it again later");
  const std::string request_id =
      wanted.seq_id
          ? sampler->request_id_of(*wanted.seq_id, BodyDigest::of(call.body), fresh, repeated)
          : fresh();
  if (repeated) {
    service.finish_sample();
  } else {
    post_sample(service, sampler,
                {request_id, std::move(wanted.request), service.futures().given_up(request_id)});
  }
  return accepted(request_id, num_samples);
}

}  // namespace

std::vector<Route> sampling_routes() {
  return {
      {"POST", "create_sampling_session", create_sampling_session},
      {"POST", "asample", immediate(asample)},
      {"GET", "samplers/{sampler_id}", immediate(get_sampler)},
  };
}

}  // namespace tinkex::torch_ext::local
