#include "torch_ext/local/sampler.h"

#include <optional>
#include <utility>

#include "torch_ext/local/guard.h"
#include "torch_ext/local/sample_engine.h"

namespace tinkex::torch_ext::local {

Result<SampleResponse> sample(const std::shared_ptr<const BaseModel>& model,
                              const std::shared_ptr<const Adapter>& adapter,
                              const SampleRequest& request, const std::atomic<bool>* cancelled) {
  return guarded([&]() -> Result<SampleResponse> {
    SampleEngine engine(model, adapter);
    std::optional<Result<SampleResponse>> response;
    engine.add(
        request, [cancelled] { return cancelled != nullptr && cancelled->load(); },
        [&response](Result<SampleResponse> result) { response.emplace(std::move(result)); });
    while (!engine.idle()) engine.step();
    return *std::move(response);
  });
}

}  // namespace tinkex::torch_ext::local
