#pragma once

// Attributes for clang's thread-safety analysis (--config=thread_safety); nothing elsewhere.
#if defined(__clang__)
#define TINKEX_ATTRIBUTE(x) __attribute__((x))
#else
#define TINKEX_ATTRIBUTE(x)
#endif

#define TINKEX_CAPABILITY(x) TINKEX_ATTRIBUTE(capability(x))
#define TINKEX_SCOPED_CAPABILITY TINKEX_ATTRIBUTE(scoped_lockable)
#define TINKEX_GUARDED_BY(x) TINKEX_ATTRIBUTE(guarded_by(x))
#define TINKEX_REQUIRES(...) TINKEX_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define TINKEX_EXCLUDES(...) TINKEX_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define TINKEX_ACQUIRE(...) TINKEX_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define TINKEX_RELEASE(...) TINKEX_ATTRIBUTE(release_capability(__VA_ARGS__))
#define TINKEX_NO_THREAD_SAFETY_ANALYSIS TINKEX_ATTRIBUTE(no_thread_safety_analysis)
