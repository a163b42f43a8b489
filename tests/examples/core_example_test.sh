#!/bin/sh
# The core alone, without LibTorch, trains and samples on another program's server.
set -eu
example=$PWD/$1
server=$PWD/$2
models=$PWD/tests/torch_ext/local/testdata
cd "$TEST_TMPDIR"

if ldd "$example" | grep -i torch; then
  echo "the example is linked with LibTorch"
  exit 1
fi

# serve OPTIONS...: starts a server and sets TINKER_BASE_URL.
servers=
trap 'kill $servers' EXIT
serve() {
  : >server.txt  # What an earlier server said must not be taken for this one's.
  "$server" --port 0 "$@" >server.txt &
  servers="$servers $!"
  for _ in $(seq 600); do
    grep -q "Press Ctrl-C" server.txt && break
    sleep 0.1
  done
  TINKER_BASE_URL=$(sed -n 's/^Serving .* on //p' server.txt)
  export TINKER_BASE_URL
}

serve
output=$("$example")
echo "$output"
[ "$(echo "$output" | tail -n 1)" = wednesday ]

# A server's first model may read other tokens than bytes; its second need not.
serve --base-model "$models/llama.gguf"
if "$example" 2>error.txt; then exit 1; fi
cat error.txt
grep -q "expected a model whose tokenizer is tinkex/bytes, got '.*llama.gguf'" error.txt
[ "$("$example" tinkex/tiny | tail -n 1)" = wednesday ]

[ "$("$example" --help)" = "usage: core_example [MODEL]" ]
if "$example" --halp 2>error.txt; then exit 1; fi
[ "$(cat error.txt)" = "usage: core_example [MODEL]" ]

# Without a server the error is one line.
if TINKER_BASE_URL=http://127.0.0.1:9 "$example" 2>error.txt; then exit 1; fi
[ "$(wc -l <error.txt)" = 1 ]
grep -q "^tinkex: \[connection\]" error.txt
