#!/bin/bash
# The client benchmark runs, in small: every competitor that is there, every scenario. No figure is
# judged.
set -u
client=$1
out=$TEST_TMPDIR/out.txt

fail() {
  echo "FAILED: $*" >&2
  cat "$out" >&2
  exit 1
}

"$client" --rounds 1 --storm-samples 100 --pending-samples 100 --pending-delay-ms 50 \
  --round-trips 3 --lock-seconds 1 --heartbeat-ms 100 --datums 300 --tokens 8 --steps 2 \
  >"$out" 2>&1 || fail "exit code $?"
for scenario in storm chunks latency pending; do
  grep -q "^$scenario: " "$out" || fail "$scenario was not run"
done
[ "$(grep -c '^  libcurl .* MiB ' "$out")" = 4 ] || fail "four rows of libcurl were expected"
[ "$(grep -c '^  tinkex .* MiB ' "$out")" = 4 ] || fail "four rows of tinkex were expected"
# Both ask for the same: 100 samples and their polls; 2 steps of 3 chunks and an update.
[ "$(grep -c '^  \(libcurl\|tinkex\) .* 200 *[0-9.]* ms$' "$out")" = 4 ] || fail "200 requests were expected"
[ "$(grep -c '^  \(libcurl\|encoding\|tinkex\) .* 16 *[0-9.]* ms$' "$out")" = 3 ] ||
  fail "16 requests were expected"
[ "$(grep -c '^  goal: ' "$out")" = 9 ] || fail "nine goals were expected"
grep -q 'SDK is left out' "$out" || fail "nothing was said of the SDK"

"$client" --scenario storm --rounds 1 --sdk-python /does/not/exist >"$out" 2>&1 &&
  fail "an SDK that is not there was no failure"
grep -q 'could not start /does/not/exist' "$out" || fail "the failure does not say what is wrong"
