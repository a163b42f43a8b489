#!/bin/bash
# A run that is stopped and resumed has the losses, bit for bit, of one that was not.
set -eu
example=$PWD/$1
server=$PWD/$2
cd "$TEST_TMPDIR"
unset TINKER_BASE_URL TINKER_API_KEY BUILD_WORKING_DIRECTORY

for i in 1 2 3 4 5; do
  printf '{"text": "line %s of a poem"}\n' "$i"
  printf '{"prompt": "What comes after %s? ", "completion": "%s"}\n' "$i" $((i + 1))
done >notes.jsonl

# losses FOLDER [STEPS]: the steps that a run tells of.
losses() { "$example" notes.jsonl "$@" | grep '^epoch'; }

# Ten examples in batches of four: three steps an epoch.
losses whole >whole.txt
[ "$(wc -l <whole.txt)" = 6 ]
[ "$(grep -c ' 10 of 10 examples' whole.txt)" = 2 ]
[ "$(sed 's/.*loss //' whole.txt | sort -u | wc -l)" = 6 ]

# In the middle of an epoch, at its end, and in the middle of the next.
{ losses part 2 && losses part 1 && losses part 1 && losses part; } >part.txt
diff whole.txt part.txt

# A run that is done stays so, and says where its result is and how to begin anew.
"$example" notes.jsonl part >out.txt
if grep '^epoch\|^going on' out.txt; then exit 1; fi
grep -q '^finished: 2 epochs are done$' out.txt
checkpoint=$(sed -n 's,^checkpoint tinker://,,p' out.txt)
[ -f "part/backend/$checkpoint/adapter_model.safetensors" ]
grep -q '^        in part/backend$' out.txt
grep -q '^to start again, name another folder, or remove part$' out.txt

# Where `bazel run` starts programs, relative paths are those of the shell all the same.
(cd / && BUILD_WORKING_DIRECTORY=$TEST_TMPDIR "$example" notes.jsonl by-bazel 1)
[ -f by-bazel/progress.pt ]
"$example" --help | grep -q '^usage: dataset_example FILE.jsonl FOLDER'

# What a server has saved is not in the folder, and nothing says that it is.
"$server" --port 0 >server.txt &
trap "kill $!" EXIT
for _ in $(seq 600); do
  grep -q "Press Ctrl-C" server.txt && break
  sleep 0.05
done
url=$(sed -n 's/^Serving .* on //p' server.txt)
TINKER_BASE_URL=$url "$example" notes.jsonl remote >out.txt
grep -q '^checkpoint tinker://' out.txt
if grep -q 'in remote/backend' out.txt; then exit 1; fi

# expect DATA FOLDER TEXT [STEPS]: one line on stderr with the text.
expect() {
  if "$example" "$1" "$2" "${@:4}" >out.txt 2>error.txt; then exit 1; fi
  cat error.txt
  [ "$(wc -l <error.txt)" = 1 ]
  grep -qF "$3" error.txt
}
head -n 9 notes.jsonl >fewer.jsonl
expect fewer.jsonl part "was saved for 10 examples, but this one is for 9"
printf '{"text": "good"}\n{"text": 7}\n' >bad.jsonl
expect bad.jsonl new "bad.jsonl:2: field 'text' is a number, expected a string"
expect missing.jsonl new "$TEST_TMPDIR/missing.jsonl: No such file or directory"
for steps in ten 3x 0 -1 99999999999999999999 ""; do
  expect notes.jsonl refused "STEPS is '$steps', expected a whole number from 1 on" "$steps"
done
[ ! -e refused ] && [ ! -e new ]
