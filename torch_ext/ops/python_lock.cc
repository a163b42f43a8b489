#include "torch_ext/ops/python_lock.h"

namespace tinkex::torch_ext {

WithoutPythonLock::WithoutPythonLock()
    : take_back_(python_function<void(void*)>("PyEval_RestoreThread")) {
  const auto initialized = python_function<int()>("Py_IsInitialized");
  const auto is_held = python_function<int()>("PyGILState_Check");
  const auto release = python_function<void*()>("PyEval_SaveThread");
  if (!take_back_ || !initialized || !is_held || !release) return;
  // In this order: of a Python that is not there yet the second one says yes.
  if (initialized() == 0 || is_held() == 0) return;
  state_ = release();
}

WithoutPythonLock::~WithoutPythonLock() {
  if (state_ != nullptr) take_back_(state_);
}

}  // namespace tinkex::torch_ext
