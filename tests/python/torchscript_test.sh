#!/bin/sh
# Spec F6.
# Python scripts each module, runs it and saves it; a C++ program loads it and must get the same numbers.
set -eu
python=../libtorch/python.sh
if ! "$python" -c 'import torch' 2>/dev/null; then
  echo "SKIPPED: this LibTorch does not come with a Python package"
  exit 0
fi
unset TINKER_BASE_URL TINKER_API_KEY
for class in TrainAndSample TrainByLoss; do
  module="$TEST_TMPDIR/$class.pt"
  tests/python/python_test.sh tests/python/script_module.py "$class" "$module" > "$TEST_TMPDIR/python.txt"
  tests/python/run_module "$module" > "$TEST_TMPDIR/cpp.txt"
  cat "$TEST_TMPDIR/python.txt"
  grep -q '^loss ' "$TEST_TMPDIR/python.txt"
  diff "$TEST_TMPDIR/python.txt" "$TEST_TMPDIR/cpp.txt"
done
