#include "torch_ext/ops/future_handle.h"

#include <string>

#include "torch_ext/ops/connect_ops.h"

namespace tinkex::torch_ext {
namespace {

template <class T>
void register_pending(torch::Library& library, const char* name) {
  library.class_<Pending<T>>(name)
      .def("done", &Pending<T>::done)
      .def("state", &Pending<T>::state)
      .def("wait", &Pending<T>::wait)
      .def("wait_for", &Pending<T>::wait_for, "", {torch::arg("seconds")})
      .def("cancel", &Pending<T>::cancel);
}

}  // namespace

void register_pending_classes(torch::Library& library) {
  register_pending<ForwardBackwardOutput>(library, "PendingForwardBackward");
  register_pending<RaggedOutput>(library, "PendingForwardBackwardRagged");
  register_pending<OptimStepResponse>(library, "PendingOptimStep");
  register_pending<SampleResponse>(library, "PendingSample");
  register_pending<SampleBatch>(library, "PendingSampleRagged");
  register_pending<std::vector<float>>(library, "PendingLogprobs");
  register_pending<LogprobsBatch>(library, "PendingLogprobsRagged");
  register_pending<std::string>(library, "PendingPath");
  register_pending<Unit>(library, "PendingNone");
}

void register_pending_sampling_client_class(torch::Library& library) {
  register_pending<LeasedSampler>(library, "PendingSamplingClient");
}

void register_pending_service_class(torch::Library& library) {
  register_pending<ServicePtr>(library, "PendingService");
}

void register_pending_training_client_class(torch::Library& library) {
  register_pending<LeasedTrainer>(library, "PendingTrainingClient");
}

}  // namespace tinkex::torch_ext
