# How the tests of the example run it. Sourced by a script with parts, functions called test_*; its
# last line is `run_parts NAME...`.
# SCRIPT SFT LOCAL_SERVER [PART...]: all parts, or those that are named.
set -u
sft=$PWD/$1
server=$PWD/$2
chosen=("${@:3}")
models=$PWD/tests/torch_ext/local/testdata
work=$TEST_TMPDIR/sft
mkdir -p "$work"
unset TINKER_BASE_URL TINKER_API_KEY BUILD_WORKING_DIRECTORY
small=(--base-model tinkex/nano --rank 4 --batch-size 8 --threads 1)
failed=0

fail() {
  echo "FAILED: $*" >&2
  failed=1
}

# hangs WHAT: the part ends here, and with it what it started; see run_parts.
hangs() {
  fail "$1: not within $patience s; out.txt, err.txt: $(tail -n 3 out.txt err.txt 2>&1)"
  exit 1
}

# eventually WHAT COMMAND...: waits until the command succeeds.
patience=30
eventually() {
  local what=$1 until=$((SECONDS + patience))
  shift
  until "$@" 2>/dev/null; do
    [ "$SECONDS" -lt "$until" ] || hangs "$what"
    sleep 0.05
  done
}

is_gone() { ! kill -0 "$1" 2>/dev/null; }

# ends PID CODE WHAT: a process ends by itself, with the code. (bash keeps it for `wait`.)
ends() {
  eventually "the end of $3" is_gone "$1"
  wait "$1"
  local code=$?
  [ "$code" = "$2" ] || fail "exit code of $3: $code, expected $2: $(cat err.txt)"
}

losses() { grep -o '"loss":[^,]*' "$1/metrics.jsonl"; }

# refused CODE TEXT ARGUMENTS...: the exit code, one line on stderr with the text, no folder left.
refused() {
  local code=$1 text=$2
  shift 2
  "$sft" --out refused "$@" >out.txt 2>err.txt
  local got=$?
  [ "$got" = "$code" ] || fail "exit code of $*: $got, expected $code"
  grep -qF -- "$text" err.txt || fail "$* did not say '$text' but: $(cat err.txt)"
  [ "$(wc -l <err.txt)" = 1 ] || fail "$* said more than one line: $(cat err.txt)"
  [ ! -e refused ] || fail "$* left a folder: $(find refused)"
  rm -rf refused
}

# run_parts NAME...: each in a process group of its own, so that one that hangs can be ended with all
# that it started.
run_parts() {
  if [ "${SFT_TEST_PART:-}" ]; then
    cd "$work" || exit 1
    trap 'kill -KILL $(jobs -p) 2>/dev/null' EXIT
    "test_$SFT_TEST_PART"
    exit "$failed"
  fi
  [ ${#chosen[@]} = 0 ] || set -- "${chosen[@]}"
  local each began code
  for each in "$@"; do
    declare -F "test_$each" >/dev/null || fail "there is no part '$each'"
  done
  [ "$failed" = 0 ] || exit 1
  for each in "$@"; do
    began=$SECONDS
    SFT_TEST_PART=$each timeout --signal=KILL 90 "$BASH" "$0" "${sft#"$PWD/"}" "${server#"$PWD/"}"
    code=$?
    [ "$code" = 0 ] || failed=1
    [ "$code" != 137 ] || fail "test_$each hangs: ended after 90 s"
    echo "test_$each: $((SECONDS - began)) s"
  done
  exit "$failed"
}
