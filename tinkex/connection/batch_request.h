#pragma once

#include <cstdint>
#include <memory>

#include "tinkex/base/byte_buffer.h"
#include "tinkex/connection/service_context.h"
#include "tinkex/retry/retry_loop.h"
#include "tinkex/wire/codec.h"

namespace tinkex::internal {

/// How the chunks of one batch become requests, in the format that the server takes.
///
/// Discovery. Bodies are encoded before the call returns, because the caller's arrays may be gone
/// afterwards, so what was encoded cannot be encoded anew. As long as nobody knows what the server
/// takes, chunks are protobuf; a chunk that is refused with 415 or 422 is transcoded from its own
/// bytes and sent again as JSON, with the same sequence id, because it was not accepted. JSON that
/// is taken settles it for the service: chunks that are protobuf already are transcoded when their
/// send starts. Protobuf that is taken settles it too: from then on a 422 is about the data.
class BatchRequest {
 public:
  /// A batch whose chunks are encoded by `codec`, the service's choice at the time.
  BatchRequest(std::shared_ptr<ServiceContext> service, const wire::Codec& codec, bool forward_only)
      : service_(std::move(service)), codec_(&codec), forward_only_(forward_only) {}

  /// SubmissionSpec::prepare. Throws an Error if the chunk has no JSON form but needs one.
  void prepare(std::int64_t seq_id, std::shared_ptr<ByteBuffer> body,
               RetryableRequest& request) const;

 private:
  HttpRequest request_for(const wire::Codec& codec, bool forward_only,
                          std::shared_ptr<const ByteBuffer> body) const;
  HttpRequest as_json(const ByteBuffer& protobuf) const;

  std::shared_ptr<ServiceContext> service_;
  const wire::Codec* codec_;
  bool forward_only_;
};

}  // namespace tinkex::internal
