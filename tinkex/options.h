#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tinkex/clock.h"
#include "tinkex/executor.h"
#include "tinkex/secret.h"
#include "tinkex/transport.h"

namespace tinkex {

class RateLimiterRegistry;

/// Where a batch is cut into chunks; each chunk is one request. Whatever limit is hit first cuts.
/// A single datum above a limit travels alone.
struct ChunkLimits {
  std::size_t max_examples = 128;
  /// Prompt tokens (an image counts its expected tokens, or its bytes) plus the elements of every
  /// loss input.
  std::size_t max_numbers = 500'000;
  /// Estimated bytes on the wire. Absent: not limited, unless the server announces a limit.
  std::optional<std::size_t> max_bytes = std::nullopt;
};

/// How forward_backward bodies and the results of forward_backward and sample are encoded.
enum class WireFormat { kProtobuf, kJson };

/// How often and how long a submission is repeated. The same bytes and the same sequence id are
/// sent again, so a server that honours ids never applies one twice.
struct RetryOptions {
  /// Attempts in all; 1 means never repeat.
  int max_attempts = 16;
  /// No new attempt begins later than this after the first.
  std::chrono::milliseconds max_elapsed{300'000};
  /// First pause; it doubles up to `max_backoff`, with a random 25 % off.
  std::chrono::milliseconds initial_backoff{500};
  std::chrono::milliseconds max_backoff{10'000};
  /// A longer Retry-After than this is cut to it.
  std::chrono::milliseconds max_retry_after{60'000};
};

/// What one call may be told beside its arguments.
struct CallOptions {
  /// The future settles within this time of the call, with kDeadlineExceeded if the result is not
  /// there by then. What has not left is then not sent, and the server's result no longer waited
  /// for; what it accepted may still take effect. Absent: ClientOptions::default_deadline.
  std::optional<std::chrono::milliseconds> deadline = std::nullopt;
};

/// Everything a ServiceClient can be told. Empty strings are filled from the environment, then
/// from the default (config/resolve.h).
struct ClientOptions {
  /// Server, with an optional path prefix. Environment: TINKER_BASE_URL. Default: hosted Tinker.
  std::string base_url;
  /// Credential, sent as X-API-Key and never printed. Environment: TINKER_API_KEY. Must start with
  /// `tml-` or `eyJ` except on loopback hosts, where it may also be empty.
  Secret api_key;
  /// Labels of the session. Environment: TINKER_TAGS, comma separated.
  std::vector<std::string> tags;
  /// Environment: TINKER_PROJECT_ID.
  std::string project_id;
  std::map<std::string, std::string> user_metadata;
  /// Extra headers on every request.
  HttpHeaders default_headers;
  /// PEM file of the authorities whose certificates are trusted, instead of the system's.
  /// Environment, where the server is an https one: SSL_CERT_FILE.
  std::string ca_file;

  /// Absent: protobuf, and JSON from the first 415 or 422 on that JSON is then spared.
  std::optional<WireFormat> wire_format = std::nullopt;
  /// Lowered to what the server announces where that is smaller.
  ChunkLimits chunk_limits;
  /// Replaces `chunk_limits` by what the server announces, also where that is larger. Where it
  /// announces bytes, `max_numbers` no longer applies.
  bool accept_larger_server_chunks = false;
  /// Sends the chunks of a batch side by side, the first one last, where the server announces that
  /// it runs operations by their sequence ids. Otherwise, and by default, one after another.
  bool parallel_chunks = false;

  /// Bytes of encoded, not yet accepted bodies of one training client beyond which
  /// a call of that client waits. One body is always admitted.
  std::size_t max_queued_bytes = std::size_t{64} << 20;
  /// Futures of this service polled at the same time; the rest wait, oldest first. A quarter of the
  /// files that the process may open, if that is less: every poll holds a connection.
  std::size_t max_concurrent_polls = 1024;
  /// Bytes of large results of this service that are fetched at the same time, by the sizes that
  /// the server announces; the rest wait, oldest first. One result is always admitted. Lowered to
  /// what the server announces.
  std::size_t max_result_bytes = std::size_t{50} << 20;

  /// Until the reply's body begins to come; while a body passes, the request's or the reply's, how
  /// long it may stand still. So of `poll_timeout`. A body of less than 1 KiB a second ends at
  /// twice the time. A connection on which the server confirms nothing for this long, or for a
  /// minute if that is more, is given up with all that is on it.
  std::chrono::milliseconds request_timeout{60'000};
  std::chrono::milliseconds connect_timeout{5'000};
  /// One long poll; the server holds it for less.
  std::chrono::milliseconds poll_timeout{45'000};
  /// How long an accepted operation is asked about again although every poll fails (no connection,
  /// 429, 5xx). Then its future has the error. Where one poll asks for a whole sampling session,
  /// samples are asked for one by one once that has failed for so long, and take as long again.
  std::chrono::milliseconds max_poll_failing{600'000};
  std::chrono::milliseconds heartbeat_interval{10'000};
  /// How long close() waits for running tasks; telling the server, for 1 s at most, counts.
  std::chrono::milliseconds close_timeout{5'000};

  /// Of every call that is given none of its own. Absent: a call may take as long as it takes.
  std::optional<std::chrono::milliseconds> default_deadline = std::nullopt;

  /// Repeats of training submissions and of set-up calls. The calls that open a session are tried
  /// four times at most.
  RetryOptions retry;
  /// Repeats of a sample submission. The default is none: sampling is not retried silently.
  RetryOptions sample_retry{.max_attempts = 1};

  /// Threads of the executor's arena; 0 means one per core, at least 2.
  int executor_threads = 0;

  /// Seams for tests and for embedding; null means the real one. The embedded backend is a
  /// Transport. Closing the service shuts the transport down, whoever else uses it.
  std::shared_ptr<Transport> transport;
  std::shared_ptr<Executor> executor;
  std::shared_ptr<Clock> clock;
  /// Where clients find the shared back-off of their {base URL, API key}; null means the one
  /// that all clients of this process share, or one of its own for a client with its own clock.
  std::shared_ptr<RateLimiterRegistry> rate_limiters;
};

}  // namespace tinkex
