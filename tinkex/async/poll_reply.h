#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tinkex/error.h"
#include "tinkex/transport.h"

namespace tinkex::internal {

/// What one answer of retrieve_future means.
struct PollReply {
  enum class Kind {
    kDone,          ///< The body is the result.
    kPending,       ///< Ask again; `delay` says when, if the server does.
    kMetadataOnly,  ///< Done but large: ask again without allow_metadata_only.
    kFailed,        ///< The operation failed; `error` says how.
    kAskLater,      ///< The question failed (429, 5xx); `error` says how.
    kBillingPause,  ///< 402.
  };
  Kind kind = Kind::kPending;
  std::optional<std::chrono::milliseconds> delay;
  /// With kPending: what the server says of a queue that does not move, or nothing.
  std::string reason;
  std::optional<Error> error;
  std::uint64_t bytes = 0;  ///< With kMetadataOnly: the announced size; 0 if unknown.
};

/// What was asked; for the error.
struct PollQuestion {
  const std::string& what;
  const std::string& request_id;
  std::span<const std::string_view> secrets;  ///< Hidden where the answer repeats them.
};

/// Reads one answer. Pure.
PollReply interpret_poll_reply(const HttpResponse& response, const PollQuestion& question);

}  // namespace tinkex::internal
