#!/bin/sh
# Runs each native fuzz target for the time given, one after the other:
# scripts/fuzz.sh 60s [package...]
set -eu

time=$1
shift
[ $# -gt 0 ] || set -- ./... ./cmd/respool/...

log=$(mktemp)
trap 'rm -f "$log"' EXIT

for package in $(go list "$@"); do
	list=$(go test -list '^Fuzz' "$package") || { echo "$list"; exit 1; }
	for target in $(echo "$list" | grep '^Fuzz' || true); do
		echo "== $package $target"
		if go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 1x "$package" >"$log" 2>&1; then
			tail -n 1 "$log"
			continue
		fi
		# go test now and then reports the end of its time as a failure: that is
		# one without a failing input.
		if grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input' "$log"; then
			grep 'elapsed' "$log" | tail -n 1
			continue
		fi
		cat "$log"
		exit 1
	done
done
