// The functions of Python that leave_python_at_its_exit() looks for, for programs without one.
// Loaded by the test when Python is to have started.

namespace {
int runs = 0;
}  // namespace

#pragma GCC visibility push(default)
extern "C" {
int Py_IsInitialized() { return 1; }
int PyGILState_Ensure() { return 0; }
void PyGILState_Release(int /*state*/) {}
int PyRun_SimpleStringFlags(const char* /*program*/, void* /*flags*/) {
  ++runs;
  return 0;
}

int fake_python_runs() { return runs; }
}
#pragma GCC visibility pop
