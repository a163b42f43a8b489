// oneTBB as packaged is not instrumented: without these two lines ThreadSanitizer reports its own
// internals. They silence frames inside TBB only; a race in our task is still found.
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_suppressions() {
  return "race_top:tbb::detail\ncalled_from_lib:libtbb.so\n";
}
