#pragma once

#include <dlfcn.h>

namespace tinkex::torch_ext {

/// A function of the Python that runs in this process; null if none is there. The library does not
/// link Python, so that C++ programs can do without it.
template <class Function>
Function* python_function(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_DEFAULT, name));
}

/// While it lives, this thread is without Python's interpreter lock, if it had it. For waits in
/// what PyTorch calls with the lock. Hold a WaitPass within: at Python's exit that keeps the thread
/// from taking the lock back, which would end the process.
class WithoutPythonLock {
 public:
  WithoutPythonLock();
  ~WithoutPythonLock();
  WithoutPythonLock(const WithoutPythonLock&) = delete;
  WithoutPythonLock& operator=(const WithoutPythonLock&) = delete;

 private:
  void (*take_back_)(void*) = nullptr;
  void* state_ = nullptr;  ///< What Python keeps of this thread; null if it had no lock.
};

}  // namespace tinkex::torch_ext
