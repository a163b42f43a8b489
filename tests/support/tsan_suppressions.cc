// oneTBB as packaged is not instrumented. Without the first two lines ThreadSanitizer reports its
// internals; without the third, the closure that TBB copies into its own task object, whose later
// reuse by another thread it cannot see ordered. What our task does is still watched: its frames
// are below TbbExecutor::Node::run, and `published` orders its contents.
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_suppressions() {
  return "race_top:tbb::detail\ncalled_from_lib:libtbb.so\n"
         "race:tinkex::internal::TbbExecutor::post\n";
}
