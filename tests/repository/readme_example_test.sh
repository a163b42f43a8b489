#!/bin/sh
# Spec E6, H5.
# The program in README.md trains on the embedded backend and prints what README shows.
set -eu

output=$("$1")
echo "$output"
losses=$(echo "$output" | sed -n 's/^loss //p')
[ "$(echo "$losses" | wc -l)" -eq 5 ]
echo "$losses" | awk 'NR == 1 { first = $1 } { last = $1 } END { exit !(last < first / 100) }'
[ "$output" = "$(sed -n '/^loss /,/^```/p' README.md | grep -v '^```')" ]
