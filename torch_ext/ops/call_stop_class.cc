#include "torch_ext/ops/call_stop_class.h"

namespace tinkex::torch_ext {

void register_call_stop_class(torch::Library& library) {
  library.class_<ScriptCallStop>("CallStop")
      .def(torch::init<>())
      .def("announce", &ScriptCallStop::announce)
      .def("stop", &ScriptCallStop::stop);
}

}  // namespace tinkex::torch_ext
