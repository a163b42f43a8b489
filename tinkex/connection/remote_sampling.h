#pragma once

#include <memory>
#include <string>

#include "tinkex/connection.h"
#include "tinkex/connection/service_context.h"

namespace tinkex::internal {

/// The default SamplingConnection. It owns the registration of one sampling session and nothing
/// else; sample() goes from the handle to the wire without a lock.
class RemoteSampling final : public SamplingConnection {
 public:
  RemoteSampling(std::shared_ptr<SamplingRegistry> registry, SlotHandle handle,
                 std::string session_id);
  ~RemoteSampling() override;

  const std::string& session_id() const override { return session_id_; }
  Future<SampleResponse> sample(const ModelInput& prompt, std::int64_t num_samples,
                                const SamplingParams& params, const SampleOptions& options,
                                const CallOptions& call) override;
  void close() override;

 private:
  const std::shared_ptr<SamplingRegistry> registry_;
  const SlotHandle handle_;
  const std::string session_id_;
};

/// Registers an open sampling session and gives its client.
Result<SamplingClient> make_sampling_client(std::shared_ptr<const ServiceContext> service,
                                            std::string session_id);

}  // namespace tinkex::internal
