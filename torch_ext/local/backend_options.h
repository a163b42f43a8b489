#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "tinkex/async/timer_service.h"
#include "tinkex/clock.h"
#include "tinkex/secret.h"
#include "torch_ext/logits_loss.h"

namespace tinkex::torch_ext::local {

/// How the frozen weights of models from files are held in memory. Everything is computed in
/// float32; bfloat16 weights are widened, exactly, as they are read: half the memory, and decoding,
/// which waits for memory, goes faster.
enum class WeightType { kFloat32, kBfloat16 };

/// What the embedded backend can be told. The defaults suit a program that trains in its own
/// process.
struct BackendOptions {
  /// Where checkpoints live: `<data_dir>/<run>/weights/<name>` and `.../sampler_weights/<name>`. It
  /// is made if missing, persists, and is used by one backend at a time. Empty: a fresh temporary
  /// directory that is removed at the end.
  std::filesystem::path data_dir;
  /// Models to offer beside the built-in ones, each a GGUF file or a folder of Hugging Face's
  /// (config.json, safetensors, tokenizer.json). They are loaded when the backend starts and called
  /// after the folder, or the file without its extension. Nothing is downloaded.
  std::vector<std::filesystem::path> base_models;
  WeightType weight_type = WeightType::kFloat32;
  /// Losses of your own by name, for forward_backward and forward. A name of the API's losses and
  /// an empty function are refused when the backend starts. The full logits of a datum and what the
  /// function makes of them exist at once, for one datum on each of `threads`.
  LogitsLosses losses;
  /// Ends the loading of models early, with an error of code kCancelled. The default never does.
  std::stop_token stop_loading;
  /// Required as X-API-Key on every request but healthz. Empty: requests need no key.
  Secret api_key;
  /// Threads of the model's arithmetic; 0 leaves LibTorch's own choice.
  int threads = 0;
  /// Lines on standard error: one for each model from a file, on the memory of its weights, and
  /// one for each operation.
  bool verbose = false;

  /// How long retrieve_future waits for a result before it answers try_again.
  std::chrono::milliseconds poll_hold{30'000};
  /// How long operations wait for a missing smaller seq_id before they fail. Longer than clients
  /// repeat a submission.
  std::chrono::milliseconds gap_timeout{600'000};

  /// Operations, and bytes of their bodies, that one model may have waiting; beyond: 429.
  std::size_t max_queued_operations = 4096;
  std::size_t max_queued_bytes = std::size_t{512} << 20;
  /// Samples, over all sessions, that may wait; beyond: 429.
  std::size_t max_queued_samples = 16'384;
  /// Results kept for repeated retrieval; the oldest go first.
  std::size_t max_result_bytes = std::size_t{256} << 20;
  /// Models that may be loaded at a time; one more fails.
  std::size_t max_models = 64;
  /// Sampling sessions kept; beyond, the one that was not used for longest is dropped.
  std::size_t max_sampling_sessions = 256;

  /// Seams for tests; null means the real ones.
  std::shared_ptr<Clock> clock;
  std::shared_ptr<internal::TimerService> timers;
};

}  // namespace tinkex::torch_ext::local
