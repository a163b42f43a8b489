# The component torch_ext: sets tinkex_torch_ext_FOUND, or _tinkex_reason.

# Yours comes first (Torch_DIR, CMAKE_PREFIX_PATH), then the one that tinkex was compiled against.
find_package(Torch QUIET HINTS "@LIBTORCH_PREFIX@")
find_package(nlohmann_json QUIET)
find_library(TINKEX_PCRE2_LIBRARY pcre2-8)
find_library(TINKEX_UTF8PROC_LIBRARY utf8proc)
mark_as_advanced(TINKEX_PCRE2_LIBRARY TINKEX_UTF8PROC_LIBRARY)

string(REGEX MATCH "^[0-9]+\\.[0-9]+" _tinkex_torch_series "${Torch_VERSION}")
if(NOT Torch_FOUND)
  set(_tinkex_reason
      "tinkex::torch_ext needs LibTorch @LIBTORCH_SERIES@, which was not found; name its folder in CMAKE_PREFIX_PATH")
elseif(NOT _tinkex_torch_series STREQUAL "@LIBTORCH_SERIES@")
  set(_tinkex_reason
      "tinkex::torch_ext was compiled against LibTorch @LIBTORCH_SERIES@, and CMake found ${Torch_VERSION} in ${Torch_DIR}; name a LibTorch @LIBTORCH_SERIES@ in CMAKE_PREFIX_PATH, or install tinkex again with LIBTORCH_HOME set to that one")
elseif(NOT nlohmann_json_FOUND)
  set(_tinkex_reason
      "tinkex::torch_ext needs nlohmann_json, which was not found (Debian: nlohmann-json3-dev)")
elseif(NOT TINKEX_PCRE2_LIBRARY)
  set(_tinkex_reason
      "tinkex::torch_ext needs PCRE2, which was not found (Debian: libpcre2-dev)")
elseif(NOT TINKEX_UTF8PROC_LIBRARY)
  set(_tinkex_reason
      "tinkex::torch_ext needs utf8proc, which was not found (Debian: libutf8proc-dev)")
else()
  set(tinkex_torch_ext_FOUND TRUE)
endif()

if(tinkex_torch_ext_FOUND AND NOT TARGET tinkex::torch_ext)
  add_library(tinkex::torch_ext INTERFACE IMPORTED)
  # One word, which CMake neither reorders nor thins out: the ops are linked whole, for nothing
  # refers to a registration.
  set(_tinkex_ops
      "-Wl,--whole-archive,${_tinkex_prefix}/lib/libtinkex_torch_ops.a,--no-whole-archive")
  # gomp by its name: by its path, CMake would warn of the one in LibTorch's folder, which is meant.
  set_target_properties(
    tinkex::torch_ext
    PROPERTIES
      INTERFACE_LINK_LIBRARIES
      "${_tinkex_ops};${_tinkex_prefix}/lib/libtinkex_torch_ext.a;tinkex::tinkex;${TORCH_LIBRARIES};nlohmann_json::nlohmann_json;gomp;${TINKEX_PCRE2_LIBRARY};${TINKEX_UTF8PROC_LIBRARY}"
  )
endif()
