#!/bin/sh
# Sets the version of all modules: scripts/version.sh 0.2.0 changes
# respool.Version and the requirements of the modules on each other.
set -eu

version=${1:?usage: version.sh VERSION, such as 0.2.0}
cd "$(dirname "$0")/.."
path=github.com/seed-2b0d76a6/respool
export GOWORK=off

file=$(grep -l '^const Version = ' ./*.go)
sed -i.bak "s/^const Version = .*/const Version = \"$version\"/" "$file"
rm "$file.bak"
for module in $(git ls-files '*/go.mod' | xargs -n 1 dirname); do
	for required in "$path" "$path/goredis" "$path/metrics/prometheus"; do
		if grep -q "^\(require\)\{0,1\}[[:space:]]*$required v" "$module/go.mod"; then
			go -C "$module" mod edit -require="$required@v$version"
		fi
	done
done
