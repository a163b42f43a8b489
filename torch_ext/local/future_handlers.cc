// Long polls for results.

#include <memory>
#include <utility>
#include <variant>

#include "tinkex/wire/codec.h"
#include "torch_ext/local/api.h"
#include "torch_ext/local/json_fields.h"
#include "torch_ext/local/service.h"

namespace tinkex::torch_ext::local {
namespace {

Reply failure(const std::string& text, ErrorCategory category) {
  return json_reply({{"error", text}, {"category", std::string(to_string(category))}});
}

Status encode(const wire::Codec& codec, const ForwardBackwardOutput& output, ByteBuffer& body) {
  return codec.encode_output(output, body);
}

Status encode(const wire::Codec& codec, const SampleResponse& response, ByteBuffer& body) {
  return codec.encode_sample_response(response, body);
}

template <class Value>
Reply encoded(const wire::Codec& codec, const Value& value) {
  ByteBuffer body;
  if (const Status status = encode(codec, value, body); !status) {
    return failure("the result cannot be encoded: " + status.error().message(),
                   ErrorCategory::kServer);
  }
  Reply reply;
  reply.content_type = codec.content_type();
  reply.body = body.view();
  return reply;
}

Reply reply_with(const OperationResult& result, const wire::Codec& codec) {
  if (!result) return failure(result.error().message(), category_of(result.error()));
  if (const auto* text = std::get_if<std::string>(&*result)) {
    Reply reply;
    reply.body = *text;
    return reply;
  }
  if (const auto* output = std::get_if<ForwardBackwardOutput>(&*result)) {
    return encoded(codec, *output);
  }
  return encoded(codec, std::get<SampleResponse>(*result));
}

Reply reply_to_poll(const std::string& id, FutureStore::PollState state,
                    const OperationResult* result, const wire::Codec& codec) {
  switch (state) {
    case FutureStore::PollState::kReady: return reply_with(*result, codec);
    case FutureStore::PollState::kPending: break;
    case FutureStore::PollState::kExpired:
      return error_reply(410, "the result of request '" + id +
                                  "' is no longer kept: its session was finished, or newer results "
                                  "took its place");
    case FutureStore::PollState::kUnknown:
      return error_reply(404, "request '" + id + "' is unknown to this server; was it restarted?");
  }
  return json_reply({{"type", "try_again"}, {"request_id", id}, {"queue_state", "active"}});
}

void retrieve_future(Service& service, const Call& call, const Responder& respond) {
  JsonFields in(call.body);
  const std::string id = in.string("request_id");
  in.boolean("allow_metadata_only", false);
  if (!in.ok()) return respond(unprocessable(in.error()));
  const wire::Codec& codec = wire::codec_for_content_type(call.accept);
  service.futures().poll(id, [id, &codec, respond](FutureStore::PollState state,
                                                   std::shared_ptr<const OperationResult> result) {
    respond_with(respond, [&] { return reply_to_poll(id, state, result.get(), codec); });
  });
}

/// Ends a sample that is not done. A training operation goes on: it changes the model whether
/// somebody waits for it or not. To call off what is over, or gone, is no error.
Reply cancel_future(Service& service, const Call& call) {
  JsonFields in(call.body);
  const std::string id = in.string("request_id");
  if (!in.ok()) return unprocessable(in.error());
  service.futures().give_up(id);
  return json_reply({{"request_id", id}, {"type", "cancel_future"}});
}

}  // namespace

std::vector<Route> future_routes() {
  return {{"POST", "retrieve_future", retrieve_future},
          {"POST", "cancel_future", immediate(cancel_future)}};
}

}  // namespace tinkex::torch_ext::local
