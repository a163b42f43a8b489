#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tinkex/error.h"

namespace tinkex::torch_ext::local {

class Service;

using TextMap = std::map<std::string, std::string, std::less<>>;

/// A request after routing. The views live until the handler returns.
struct Call {
  TextMap parameters;  ///< From the path, decoded.
  TextMap query;
  std::string_view content_type;
  std::string_view content_encoding;
  std::string_view accept;
  std::string_view body;
};

struct Reply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

/// Called once, now or later, from any thread.
using Responder = std::function<void(Reply)>;
using Handler = std::function<void(Service&, const Call&, Responder)>;

struct Route {
  std::string_view method;
  /// Below `/api/v1/`; a segment in braces matches anything and becomes a parameter.
  std::string_view path;
  Handler handler;
};

/// A handler that answers at once.
Handler immediate(Reply (*handler)(Service&, const Call&));

Reply json_reply(const nlohmann::json& body, int status = 200);
/// `{"detail": text}`. `text` must say what to change and never holds a key.
Reply error_reply(int status, const std::string& text);
/// The same for what does not pass by itself: clients do not send the request again.
Reply lasting_error(int status, const std::string& text);
/// For a malformed or impossible field: 422.
Reply unprocessable(const std::string& text);
/// For load, or what passes: the client sends it again after a second.
Reply busy(const std::string& text, int status = 429);

/// Replies 500 for the exception that is being handled.
void respond_failed(const Responder& respond) noexcept;

/// Replies with what `make` returns, or with 500 if it throws. For replies that come later, from
/// threads that no handler's caller guards.
template <class Make>
void respond_with(const Responder& respond, Make&& make) noexcept {
  try {
    respond(make());
  } catch (...) {
    respond_failed(respond);
  }
}

std::vector<Route> service_routes();
std::vector<Route> training_routes();
std::vector<Route> checkpoint_routes();
std::vector<Route> sampling_routes();
std::vector<Route> future_routes();
std::vector<Route> run_routes();

}  // namespace tinkex::torch_ext::local
