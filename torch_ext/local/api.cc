#include "torch_ext/local/api.h"

#include <exception>

#include "torch_ext/local/json_fields.h"

namespace tinkex::torch_ext::local {

Handler immediate(Reply (*handler)(Service&, const Call&)) {
  return [handler](Service& service, const Call& call, const Responder& respond) {
    respond(handler(service, call));
  };
}

Reply json_reply(const nlohmann::json& body, int status) {
  Reply reply;
  reply.status = status;
  reply.body = dump(body);
  return reply;
}

Reply error_reply(int status, const std::string& text) {
  return json_reply({{"detail", text}}, status);
}

Reply lasting_error(int status, const std::string& text) {
  Reply reply = error_reply(status, text);
  reply.headers.emplace_back("x-should-retry", "false");
  return reply;
}

Reply unprocessable(const std::string& text) { return error_reply(422, text); }

Reply busy(const std::string& text, int status) {
  Reply reply = error_reply(status, text);
  reply.headers.emplace_back("retry-after", "1");
  return reply;
}

void respond_failed(const Responder& respond) noexcept {
  try {
    try {
      throw;
    } catch (const std::exception& failure) {
      respond(error_reply(500, std::string("internal error: ") + failure.what()));
    } catch (...) {
      respond(error_reply(500, "internal error"));
    }
  } catch (...) {
    // Not even memory for a short text: the caller's deadline has to tell.
  }
}

}  // namespace tinkex::torch_ext::local
