#!/bin/sh
# usage: python_test.sh script.py
# Runs a Python test with the interpreter that has the LibTorch of this build.
python=../libtorch/python.sh
if ! "$python" -c 'import torch' 2>/dev/null; then
  echo "SKIPPED: this LibTorch does not come with a Python package"
  exit 0
fi
unset TINKER_BASE_URL TINKER_API_KEY
TINKEX_TORCH_LIBRARY="$PWD/torch_ext/libtinkex_torch.so" exec "$python" -W ignore "$@"
