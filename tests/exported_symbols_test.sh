#!/bin/sh
# usage: exported_symbols_test.sh LIBRARY.so
# The shared object offers one symbol. The linker also exports weak template instances of std:: that
# LibTorch itself refers to; those are not ours. (Lower-case types in nm's list are local.)
set -eu
exported=$(nm -D --defined-only "$1" |
  awk '$2 ~ /[A-Z]/ && !($2 ~ /[WV]/ && $3 ~ /^_Z(N|NK|TI|TS|TV|GV|St)?K?(St|S[absiod])/) { print $3 }')
if [ "$exported" != tinkex_abi_version ]; then
  echo "$1 exports, where tinkex_abi_version alone is expected:"
  echo "$exported"
  exit 1
fi
