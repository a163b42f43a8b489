#!/bin/sh
# usage: python_test.sh script.py
# Runs a Python test with the interpreter that has the LibTorch of this build.
python=../libtorch/python.sh
if ! "$python" -c 'import torch' 2>/dev/null; then
  echo "SKIPPED: this LibTorch does not come with a Python package"
  exit 0
fi
unset TINKER_BASE_URL TINKER_API_KEY
TINKEX_TORCH_LIBRARY=$PWD/torch_ext/libtinkex_torch.so
export TINKEX_TORCH_LIBRARY
# AddressSanitizer wants to be loaded first, with the library whose exceptions it watches, and Python
# itself keeps memory to its end.
loaded_as() { ldd "$TINKEX_TORCH_LIBRARY" | sed -n "s/.* => \(.*$1[^ ]*\) .*/\1/p"; }
asan=$(loaded_as libasan)
if [ -n "$asan" ]; then
  ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0
  LD_PRELOAD=$asan:$(loaded_as 'libstdc++')
  export ASAN_OPTIONS LD_PRELOAD
fi
exec "$python" -W ignore "$@"
