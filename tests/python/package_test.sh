#!/bin/sh
# usage: package_test.sh TEST.py ARGUMENT...
# Builds the wheel, installs it into a new environment beside the torch of this build, runs a test there.
set -eu
python=../libtorch/python.sh
if ! "$python" -c 'import torch' 2>/dev/null; then
  echo "SKIPPED: this LibTorch does not come with a Python package"
  exit 0
fi
if ldd torch_ext/libtinkex_torch.so | grep -q 'lib[at]san'; then
  echo "SKIPPED: the wheel of a sanitizer's build runs nowhere; ops_test covers the library"
  exit 0
fi
unset TINKER_BASE_URL TINKER_API_KEY
TINKEX_WHEEL=$(torch_ext/python/wheel --out "$TEST_TMPDIR")
export TINKEX_WHEEL
"$python" -m venv --without-pip "$TEST_TMPDIR/venv"
installed=$TEST_TMPDIR/venv/bin/python
site=$("$installed" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$python" -c 'import os, torch; print(os.path.dirname(os.path.dirname(torch.__file__)))' \
  > "$site/torch.pth"
"$python" -m pip --python "$installed" --disable-pip-version-check --no-cache-dir \
  install --quiet --no-index --no-deps "$TINKEX_WHEEL"
exec "$installed" -B -W ignore "$@"
