#!/bin/sh
# Checks that the modules build without go.work, as users build them: from tags.
# It tags a copy of the tree in a scratch repository, as docs/releasing.md
# describes, then installs the tool and builds the libraries from the tags.
set -eu

cd "$(dirname "$0")/.."
path=github.com/seed-2b0d76a6/respool
libraries="goredis metrics/otel metrics/prometheus credentials/aws credentials/entra"
modules="$libraries cmd/respool bench test/clients test/page examples/workers/asynq"

export GOWORK=off
version=v$(sed -n 's/^const Version = "\(.*\)"$/\1/p' ./*.go)
for module in $modules; do
	wrong=$(awk -v path="$path" -v version="$version" '
		{ sub(/^require /, "") }
		!/^replace|^module/ && ($1 == path || index($1, path "/") == 1) && $2 != version { print $1, $2 }' "$module/go.mod")
	[ -z "$wrong" ] || { echo "modules: $module/go.mod requires $wrong: want $version, as respool.Version says" >&2; exit 1; }
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The modules come from the scratch repository, and their dependencies out of the
# module cache. The modules that are built here must not stay in that cache.
GOPROXY=file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)
GOMODCACHE=$scratch/modules
GOBIN=$scratch/bin
GOPRIVATE=$path
GOFLAGS="-modcacherw -mod=mod -trimpath"
export GOPROXY GOMODCACHE GOBIN GOPRIVATE GOFLAGS

export GIT_CONFIG_COUNT=3
export GIT_CONFIG_KEY_0="url.file://$scratch/tree/.insteadOf" GIT_CONFIG_VALUE_0="https://$path"
export GIT_CONFIG_KEY_1=user.name GIT_CONFIG_VALUE_1=modules
export GIT_CONFIG_KEY_2=user.email GIT_CONFIG_VALUE_2=modules@localhost

# quiet shows what a command writes only if it fails.
quiet() {
	"$@" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; echo "modules: $* failed" >&2; exit 1; }
}

mkdir "$scratch/tree" "$scratch/user"
git ls-files --cached --others --exclude-standard | while IFS= read -r file; do
	[ ! -f "$file" ] || printf '%s\n' "$file"
done | tar -cf - -T - | tar -xf - -C "$scratch/tree"

cd "$scratch/tree"
git init -q
git add -A
git commit -q -m "the libraries"
git tag "$version"
for module in $libraries; do
	git tag "$module/$version"
done

# go install refuses a module with replace directives, so the tool has a commit without them.
quiet go -C cmd/respool mod edit -dropreplace "$path" -dropreplace "$path/metrics/prometheus"
quiet go -C cmd/respool get "$path@$version" "$path/metrics/prometheus@$version"
git add -A
git commit -q -m "the tool"
git tag "cmd/respool/$version"

cd "$scratch/user"
quiet go install "$path/cmd/respool@$version"
quiet "$GOBIN/respool" --version

quiet go mod init example.org/user
packages=$path
for module in $libraries; do
	packages="$packages $path/$module"
done
for package in $packages; do
	quiet go get "$package@$version"
done
quiet go build $packages
echo "modules: all build from the tags of $version"
