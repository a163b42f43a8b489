#!/bin/sh
# The core alone, without LibTorch, trains and samples on another program's server.
set -eu
example=$PWD/$1
server=$PWD/$2
cd "$TEST_TMPDIR"

if ldd "$example" | grep -i torch; then
  echo "the example is linked with LibTorch"
  exit 1
fi
"$server" --port 0 >server.txt &
trap 'kill $!' EXIT
for _ in $(seq 600); do
  grep -q "Press Ctrl-C" server.txt && break
  sleep 0.1
done
output=$(TINKER_BASE_URL=$(sed -n 's/^Serving .* on //p' server.txt) "$example")
echo "$output"
[ "$(echo "$output" | tail -n 1)" = wednesday ]

# Without a server the error is one line.
if TINKER_BASE_URL=http://127.0.0.1:9 "$example" 2>error.txt; then exit 1; fi
[ "$(wc -l <error.txt)" = 1 ]
grep -q "^tinkex: \[connection\]" error.txt
