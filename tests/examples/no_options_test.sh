#!/bin/bash
# Examples that have nothing to choose tell about themselves, and train nothing for an option.
set -eu
cd "$TEST_TMPDIR"
for example in "${@/#/$OLDPWD/}"; do
  "$example" --help >out.txt
  grep -q "^${example##*/}: " out.txt
  grep -q "^It takes no options" out.txt
  if "$example" --steps 5 >out.txt 2>error.txt; then exit 1; fi
  [ ! -s out.txt ]
  [ "$(cat error.txt)" = "${example##*/}: takes no options but --help" ]
done
