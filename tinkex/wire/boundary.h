#pragma once

#include <string>
#include <utility>

#include "tinkex/base/byte_buffer.h"
#include "tinkex/error.h"

namespace tinkex::wire {

/// Inside this folder the encoders and decoders report by throwing an Error, which keeps code that
/// walks nested messages readable. These functions are the only exits: every codec method goes
/// through one of them, so nothing ever leaves as an exception. Any other exception is a defect of
/// the encoder or decoder, whatever the bytes are: kInternal.

/// Runs `decode()`, which returns the value.
template <class Decode>
auto decode_guarded(Decode&& decode) noexcept -> Result<decltype(decode())> {
  return internal::invoke_named<decltype(decode())>("the decoder", decode);
}

/// Runs `encode()`, which fills a body.
template <class Encode>
Status encode_guarded(Encode&& encode) noexcept {
  return internal::invoke_named<Unit>("the encoder", encode);
}

/// The same for all of `body`: it is emptied before, and on failure.
template <class Encode>
Status encode_guarded(ByteBuffer& body, Encode&& encode) noexcept {
  body.clear();
  Status status = encode_guarded(encode);
  if (!status) body.clear();
  return status;
}

/// Throws kDecode.
[[noreturn]] inline void fail_decode(std::string message) {
  throw Error(ErrorCode::kDecode, std::move(message));
}

}  // namespace tinkex::wire
