# What find_package(tinkex) reads. The target tinkex::tinkex is the client, without LibTorch. The
# component torch_ext adds tinkex::torch_ext: tensors, ops and classes, and the embedded backend.

include(CMakeFindDependencyMacro)
get_filename_component(_tinkex_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

find_dependency(Threads)
find_dependency(CURL)
find_dependency(TBB)

if(NOT TARGET tinkex::tinkex)
  add_library(tinkex::tinkex STATIC IMPORTED)
  set_target_properties(
    tinkex::tinkex
    PROPERTIES IMPORTED_LOCATION "${_tinkex_prefix}/lib/libtinkex.a"
               INTERFACE_INCLUDE_DIRECTORIES "${_tinkex_prefix}/include/tinkex"
               INTERFACE_COMPILE_FEATURES cxx_std_20
               INTERFACE_LINK_LIBRARIES "CURL::libcurl;TBB::tbb;Threads::Threads")
endif()

foreach(_tinkex_component IN LISTS tinkex_FIND_COMPONENTS)
  set(tinkex_${_tinkex_component}_FOUND FALSE)
  set(_tinkex_reason "tinkex has no component '${_tinkex_component}'; there is torch_ext")
  if(_tinkex_component STREQUAL "torch_ext")
    set(_tinkex_reason
        "this tinkex was installed without torch_ext, by //tools:install_core; install it by //tools:install")
    include("${CMAKE_CURRENT_LIST_DIR}/tinkexTorchExt.cmake" OPTIONAL)
  endif()
  if(tinkex_FIND_REQUIRED_${_tinkex_component} AND NOT tinkex_${_tinkex_component}_FOUND)
    set(tinkex_FOUND FALSE)
    set(tinkex_NOT_FOUND_MESSAGE "${_tinkex_reason}")
  endif()
endforeach()
