// oneTBB as packaged is not instrumented. Without these lines ThreadSanitizer reports its
// internals. The executor's tasks are ordered by its own mutex, so what they do is watched in full.
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_suppressions() {
  return "race_top:tbb::detail\ncalled_from_lib:libtbb.so\n";
}
