#include "tinkex/connection/batch_request.h"

#include <utility>

namespace tinkex::internal {

void BatchRequest::prepare(std::int64_t seq_id, std::shared_ptr<ByteBuffer> body,
                           RetryableRequest& request) const {
  codec_->append_seq_id(seq_id, *body);
  if (codec_->format() != service_->codec().format()) {  // JSON turned out to be needed
    request.http = as_json(*body);
    return;
  }
  request.http = request_for(*codec_, forward_only_, std::move(body));
  if (service_->options.wire_format || !service_->wire.undecided()) return;
  request.other_form = OtherForm{
      .make = [self = *this](const HttpRequest& refused) -> Result<HttpRequest> {
        // Another model's protobuf may have been taken meanwhile: then the data is at fault.
        if (!self.service_->wire.undecided() &&
            self.service_->wire.format() == WireFormat::kProtobuf) {
          return Error(ErrorCode::kInternal, "the server is known to take protobuf");
        }
        return self.as_json(*refused.body);
      },
      .taken =
          [service = service_](bool in_other_form) {
            service->wire.taken(in_other_form ? WireFormat::kJson : WireFormat::kProtobuf);
          }};
}

HttpRequest BatchRequest::request_for(const wire::Codec& codec, bool forward_only,
                                      std::shared_ptr<const ByteBuffer> body) const {
  HttpRequest request = service_->request(codec.path(forward_only));
  for (auto& [name, value] : request.headers) {
    if (name == "Content-Type") value = codec.content_type();
  }
  request.body = std::move(body);
  // Some servers answer with the result at once.
  request.max_response_bytes = HttpRequest().max_response_bytes;
  return request;
}

HttpRequest BatchRequest::as_json(const ByteBuffer& protobuf) const {
  const auto batch = wire::proto_codec().decode_request(protobuf.view(), forward_only_).value();
  const wire::Codec& json = wire::json_codec();
  auto body = service_->runtime->buffers->acquire(4 * protobuf.size());
  const wire::ForwardBackwardInput input{.model_id = batch.model_id,
                                         .data = batch.data,
                                         .loss_fn = batch.loss_fn,
                                         .loss_fn_config = batch.loss_fn_config,
                                         .forward_only = batch.forward_only};
  (void)json.encode_request(input, *body).value();
  json.append_seq_id(batch.seq_id, *body);
  // By its own word: what only holds a sequence id's place is a forward in any batch.
  return request_for(json, batch.forward_only, std::move(body));
}

}  // namespace tinkex::internal
