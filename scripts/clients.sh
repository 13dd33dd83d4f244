#!/bin/sh
# Installs the client libraries that make test-clients runs: Debian's packages of
# node, npm, redis-py and redis-cli, and the locked node modules into the
# directory given. Does nothing where they are there.
set -eu

modules=${1:?usage: clients.sh DIRECTORY}
node=$(dirname "$0")/../test/clients/node

have() { command -v "$1" >/dev/null 2>&1; }

missing=
packages=
for name in node npm redis-cli python3-redis; do
	case $name in
	node) package=nodejs ;;
	redis-cli) package=redis-tools ;;
	*) package=$name ;;
	esac
	case $name in
	python3-redis) /usr/bin/python3 -c 'import redis.asyncio' 2>/dev/null && continue ;;
	*) have "$name" && continue ;;
	esac
	missing="$missing $name"
	packages="$packages $package"
done
if [ -n "$missing" ]; then
	if ! have apt-get; then
		echo "clients: missing:$missing, and there is no apt-get to install with" >&2
		exit 1
	fi
	as_root=
	if [ "$(id -u)" != 0 ]; then
		if ! have sudo; then
			echo "clients: installing$packages takes root or sudo" >&2
			exit 1
		fi
		as_root=sudo
	fi
	$as_root apt-get update -q
	$as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -q --no-install-recommends $packages </dev/null
	for name in node npm redis-cli; do
		have "$name" || { echo "clients: $name is still missing" >&2; exit 1; }
	done
	/usr/bin/python3 -c 'import redis.asyncio'
fi

# npm ci begins with taking away what is there: only when the lock has changed.
if cmp -s "$node/package-lock.json" "$modules/installed.json"; then
	exit 0
fi
mkdir -p "$modules"
cp "$node/package.json" "$node/package-lock.json" "$modules"
(cd "$modules" && npm ci --ignore-scripts --no-audit --no-fund)
cp "$modules/package-lock.json" "$modules/installed.json"
