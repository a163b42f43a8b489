#!/bin/sh
# usage: layering_test.sh LAYERING CONTROL
# LAYERING lists what under @libtorch the core depends on: nothing. CONTROL lists the same of the
# extension, to show that the query finds something where there is something.
set -eu
if [ -s "$1" ]; then
  echo "tinkex/ must not depend on LibTorch, but reaches:"
  cat "$1"
  exit 1
fi
grep -q '^@libtorch' "$2" || { echo "the query finds no @libtorch even in the extension"; exit 1; }
