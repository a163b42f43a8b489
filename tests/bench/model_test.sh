#!/bin/bash
# The benchmark of the engine runs, in small and without eager. No figure is judged.
set -u
bench=$1
out=$TEST_TMPDIR/out.txt

fail() {
  echo "FAILED: $*" >&2
  cat "$out" >&2
  exit 1
}

"$bench" --model tests/torch_ext/local/testdata/llama.gguf --threads 1 --rounds 2 --sequences 2 \
  --length 8 --decoded 4 --rank 2 >"$out" 2>&1 || fail "exit code $?"
for said in "^1 thread, 2 rounds" "training, tokens/s" "decode of sixteen" "on a bfloat16 base" \
  "sixteen sequences: .* times one"; do
  grep -q "$said" "$out" || fail "no word of '$said'"
done
[ "$(grep -c '^  goal: ' "$out")" = 3 ] || fail "three goals were expected"

"$bench" --model /does/not/exist >"$out" 2>&1 && fail "a model that is not there was no failure"
grep -q '/does/not/exist' "$out" || fail "the failure does not say what is wrong"
