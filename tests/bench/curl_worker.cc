#include <curl/curl.h>

#include <algorithm>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tests/bench/raw_curl.h"
#include "tests/bench/worker.h"
#include "tinkex/api/messages.h"
#include "tinkex/connection/result_poll.h"
#include "tinkex/connection/service_context.h"
#include "tinkex/training/chunker.h"
#include "tinkex/wire/codec.h"

namespace tinkex::bench {
namespace {

using nlohmann::json;

constexpr std::size_t kIdOffset = 15;  // behind {"request_id":"
constexpr std::size_t kIdLength = 25;

/// The requests of tinkex, byte for byte, all of them made before anything is measured; a poll's
/// body gets its id later.
class Requests {
 public:
  explicit Requests(const WorkerOptions& options) { service_.options.base_url = options.url; }

  HttpRequest post(std::string_view path) const { return service_.request(path); }

  HttpRequest asample() const {
    HttpRequest request = post("asample");
    request.headers.emplace_back("X-Tinker-Sampling-Backpressure", "1");
    return request;
  }

  HttpRequest forward_backward() const {
    HttpRequest request = post("forward_backward");
    for (auto& [name, value] : request.headers) {
      if (name == "Content-Type") value = wire::proto_codec().content_type();
    }
    return request;
  }

  HttpRequest poll(const std::string& type, bool binary) const {
    HttpRequest request = internal::poll_request(service_, type, binary);
    request.headers.emplace_back("X-Tinker-Request-Iteration", "0");
    return request;
  }

 private:
  internal::ServiceContext service_;
};

std::string sample_body(std::size_t seq_id) {
  const ModelInput prompt = bench_prompt();
  const auto body = api::asample_request({.sampling_session_id = "bench-sampler",
                                          .seq_id = seq_id,
                                          .prompt = prompt,
                                          .num_samples = 1,
                                          .params = bench_sampling(),
                                          .options = {}})
                        .value();
  return std::string(body->view());
}

std::string poll_body(std::string_view reply) {
  if (reply.size() < kIdOffset + kIdLength) throw std::runtime_error("libcurl: a short reply");
  std::string body = R"({"allow_metadata_only":true,"request_id":")";
  body.append(reply.substr(kIdOffset, kIdLength)).append("\"}");
  return body;
}

json run_samples(const WorkerOptions& options) {
  const Requests requests(options);
  const RawEndpoint submit(requests.asample());
  const RawEndpoint poll(requests.poll("Sample", true));
  std::vector<std::string> bodies(options.samples), polls(options.samples);
  for (std::size_t i = 0; i < bodies.size(); ++i) bodies[i] = sample_body(i + 1);
  RawCurl curl(std::min(options.connections, options.samples));
  Meter meter;
  meter.begin();
  for (std::size_t i = 0; i < bodies.size(); ++i) curl.push({&submit, bodies[i], i});
  std::size_t results = 0;
  curl.run([&](const RawRequest& request, std::string_view reply) {
    if (request.endpoint == &poll) {
      ++results;
    } else {
      polls[request.index] = poll_body(reply);
      curl.push({&poll, polls[request.index], request.index});
    }
  });
  json result{{"results", results}};
  meter.end(result);
  return result;
}

/// Makes the bodies of a step from its tensors: the batch in the client's chunks, and the optimizer
/// step behind them.
class StepBodies {
 public:
  explicit StepBodies(const WorkerOptions& options) : batch_(bench_batch(options)) {
    std::vector<internal::DatumSize> sizes;
    for (const Datum& datum : batch_) {
      sizes.push_back({wire::count_numbers(datum), wire::estimate_bytes(datum)});
    }
    chunks_ = internal::chunk_sizes(sizes, {});
  }

  std::size_t chunks() const noexcept { return chunks_.size(); }

  /// Writes the `i`-th body; the optimizer step's is the last.
  void make(std::size_t i, ByteBuffer& body) const {
    body.clear();
    const auto seq_id = static_cast<std::int64_t>(i + 1);
    if (i == chunks()) {
      const auto step = api::optim_step_request(kModel, {});
      api::append_seq_id(seq_id, *step);
      return body.append(step->view());
    }
    const internal::ChunkRange& chunk = chunks_[i];
    const std::span<const Datum> data = std::span(batch_).subspan(chunk.begin, chunk.size());
    const wire::Codec& codec = wire::proto_codec();
    (void)codec.encode_request({kModel, data, loss::kCrossEntropy, {}}, body).value();
    codec.append_seq_id(seq_id, body);
  }

 private:
  static constexpr const char* kModel = "bench-session:train:0";

  std::vector<Datum> batch_;
  std::vector<internal::ChunkRange> chunks_;
};

/// A step as the client sends it: one submission at a time in order, the polls of the chunks once
/// the last one was accepted.
class RawStep {
 public:
  explicit RawStep(const WorkerOptions& options)
      : requests_(options),
        made_(options),
        bodies_(chunks() + 1),
        polls_(chunks() + 1),
        curl_(std::max<std::size_t>(options.connections, 1)),
        encode_(options.encode) {
    make_bodies();
  }

  void run() {
    if (encode_) make_bodies();
    submit(0);
    curl_.run([this](const RawRequest& request, std::string_view reply) {
      if (request.endpoint == &poll_ || request.endpoint == &step_poll_) {
        ++results_;
      } else {
        on_accepted(request.index, reply);
      }
    });
  }

  std::size_t results() const noexcept { return results_; }

 private:
  std::size_t chunks() const { return made_.chunks(); }

  void make_bodies() {
    for (std::size_t i = 0; i < bodies_.size(); ++i) made_.make(i, bodies_[i]);
  }

  void submit(std::size_t i) {
    curl_.push({i < chunks() ? &submit_ : &step_, bodies_[i].view(), i});
  }

  void on_accepted(std::size_t i, std::string_view reply) {
    polls_[i] = poll_body(reply);
    if (i < chunks()) submit(i + 1);
    if (i + 1 == chunks()) {
      for (std::size_t chunk = 0; chunk < chunks(); ++chunk) {
        curl_.push({&poll_, polls_[chunk], chunk});
      }
    } else if (i == chunks()) {
      curl_.push({&step_poll_, polls_[i], i});
    }
  }

  const Requests requests_;
  const RawEndpoint submit_{requests_.forward_backward()}, step_{requests_.post("optim_step")};
  const RawEndpoint poll_{requests_.poll("ForwardBackward", true)};
  const RawEndpoint step_poll_{requests_.poll("OptimStep", false)};
  const StepBodies made_;
  std::vector<ByteBuffer> bodies_;
  std::vector<std::string> polls_;
  RawCurl curl_;
  const bool encode_;
  std::size_t results_ = 0;
};

json run_chunks(const WorkerOptions& options) {
  RawStep step(options);
  step.run();
  Meter meter;
  meter.begin();
  for (std::size_t i = 0; i < options.steps; ++i) step.run();
  json result{{"results", step.results()}};
  meter.end(result);
  return result;
}

/// Heartbeats from a thread that does nothing else: as punctual as this machine is.
void hold_lock(const WorkerOptions& options, const Requests& requests, json& result) {
  const RawEndpoint endpoint(requests.post("session_heartbeat"));
  const std::string body = R"({"session_id":"bench-session","type":"session_heartbeat"})";
  const auto begun = std::chrono::steady_clock::now();
  result["lock_begin_ns"] = steady_nanoseconds();
  std::thread beats([&] {
    RawCurl curl(1);
    for (auto next = begun; next < begun + options.lock; next += options.heartbeat) {
      std::this_thread::sleep_until(next);
      curl.push({&endpoint, body, 0});
      curl.run([](const RawRequest&, std::string_view) {});
    }
  });
  beats.join();
  std::this_thread::sleep_until(begun + options.lock);
  result["lock_end_ns"] = steady_nanoseconds();
}

json run_latency(const WorkerOptions& options) {
  const Requests requests(options);
  const RawEndpoint submit(requests.asample());
  const RawEndpoint poll(requests.poll("Sample", true));
  std::vector<std::string> bodies(options.samples);
  for (std::size_t i = 0; i < bodies.size(); ++i) bodies[i] = sample_body(i + 1);
  RawCurl curl(1);
  std::string body;
  std::vector<double> seconds;
  Meter meter;
  meter.begin();
  for (const std::string& sample : bodies) {
    const auto begun = std::chrono::steady_clock::now();
    curl.push({&submit, sample, 0});
    curl.run([&](const RawRequest& request, std::string_view reply) {
      if (request.endpoint == &poll) return;
      body = poll_body(reply);
      curl.push({&poll, body, 0});
    });
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begun;
    seconds.push_back(taken.count());
  }
  json result;
  meter.end(result);
  add_round_trips(std::move(seconds), result);
  if (options.lock.count() > 0) hold_lock(options, requests, result);
  return result;
}

}  // namespace

json run_libcurl(const WorkerOptions& options) {
  curl_global_init(CURL_GLOBAL_DEFAULT);
  if (options.scenario == "chunks") return run_chunks(options);
  if (options.scenario == "latency") return run_latency(options);
  return run_samples(options);
}

}  // namespace tinkex::bench
