#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "tinkex/datum.h"
#include "torch_ext/local/router.h"

namespace tinkex::torch_ext::local {

/// The smallest built-in model.
inline constexpr char kNano[] = "tinkex/nano";

/// A client of one backend without a wire. Its calls wait for the answer.
class TestBackend {
 public:
  using Json = nlohmann::json;
  using Headers = std::map<std::string, std::string, std::less<>>;

  explicit TestBackend(BackendOptions options = {});

  Backend& backend() { return *backend_; }

  Reply call(std::string_view method, std::string_view path, std::string_view body = {},
             const Headers& headers = {});
  /// The answer of a call that must succeed.
  Json get(std::string_view path);
  Json post(std::string_view path, const Json& body);
  /// Status and detail of a call that must not.
  std::pair<int, std::string> refusal(std::string_view path, const Json& body);

  /// Polls until there is a result (or a failure body).
  Json result(const std::string& request_id);
  /// Submits and waits.
  Json run(std::string_view path, const Json& body);

  std::string session();
  /// A nano model of rank 4 and seed 1.
  std::string model(const std::string& session, int number = 0);
  /// A sampling session on the given weights.
  std::string sampler(const std::string& session, int number, const Json& weights);

 private:
  std::shared_ptr<Backend> backend_;
};

/// A cross-entropy datum: tokens 1..n predict 2..n+1.
nlohmann::json count_datum(int first, int length);
/// The body of forward_backward on `data`, by default one datum.
nlohmann::json backward_body(const std::string& model, std::int64_t seq_id,
                             nlohmann::json data = nlohmann::json::array({count_datum(1, 8)}));
nlohmann::json step_body(const std::string& model, std::int64_t seq_id,
                         double learning_rate = 1e-2);
/// A greedy sample of a short prompt with prompt logprobs.
nlohmann::json sample_body(const std::string& sampler, int seq_id);

}  // namespace tinkex::torch_ext::local
