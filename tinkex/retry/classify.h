#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/transport.h"

namespace tinkex::internal {

enum class RetryDecision { kRetry, kGiveUp };

/// Whether a request that was answered with `reply` is worth repeating. The first rule that applies
/// decides (H8):
///
/// | rule                                                        | decision |
/// |-------------------------------------------------------------|----------|
/// | header `x-should-retry: true` / `false`                     | as it says |
/// | category user                                               | give up  |
/// | 408, 429, 5xx                                               | retry    |
/// | 409, after an attempt whose outcome is unknown              | retry    |
/// | any other 4xx, and a redirect (never followed)              | give up  |
RetryDecision decide(const HttpResponse& reply, ErrorCategory category, bool outcome_unknown);

/// How long the server asks to wait: `retry-after-ms`, else `retry-after` in seconds or as an HTTP
/// date, relative to `wall_clock_now`. Nothing for nonsense and for the past; at most `cap`.
std::optional<std::chrono::milliseconds> parse_retry_after(
    const HttpResponse& reply,
    std::chrono::system_clock::time_point wall_clock_now = std::chrono::system_clock::now(),
    std::chrono::milliseconds cap = std::chrono::hours(1));

/// Whether the body is a JSON object, as every answer of this API is: a proxy whose server is away
/// answers with a page or a line of text.
bool is_in_json(const HttpResponse& reply);

/// A server's own words made fit for an Error: one line, of bounded length, and words that begin
/// like a key of this API become ***, and so do `secrets`: some servers and proxies repeat the
/// request's headers.
std::string tidy_server_text(std::string_view text, std::span<const std::string_view> secrets);

/// What must not be shown of `request`: the values of the headers whose names speak of keys,
/// tokens, authorization, secrets or cookies, without the scheme before a blank. Values of less
/// than six characters are none. The views are into `request`.
std::vector<std::string_view> secrets_of(const HttpRequest& request);

/// The Error of a reply that is no success: status, category and delay, and the server's own text
/// (`detail`, `message` or `error` of a JSON body, else the body itself), cut to a readable length
/// and without `secrets`.
Error error_from_response(const HttpResponse& reply, std::string_view what,
                          std::span<const std::string_view> secrets);

}  // namespace tinkex::internal
