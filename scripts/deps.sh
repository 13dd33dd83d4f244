#!/bin/sh
# Installs what the tests need beside Go: redis-server, redis-sentinel and
# promtool, from Debian's packages, and the programs given as arguments. Does
# nothing where they are there.
set -eu

# The tests run REDIS_SERVER in redis-server's place where it is set.
if [ -n "${REDIS_SERVER:-}" ]; then
	"$REDIS_SERVER" --version || {
		echo "deps: REDIS_SERVER is $REDIS_SERVER: want the path of a redis-server or valkey-server" >&2
		exit 1
	}
fi

have() {
	case $1 in
	python3-redis) /usr/bin/python3 -c 'import redis.asyncio' 2>/dev/null ;;
	*) command -v "$1" >/dev/null 2>&1 ;;
	esac
}

missing=
packages=
for name in redis-server redis-sentinel promtool "$@"; do
	have "$name" && continue
	missing="$missing $name"
	case $name in
	promtool) packages="$packages prometheus" ;;
	*) packages="$packages $name" ;;
	esac
done
if [ -z "$missing" ]; then
	exit 0
fi
if ! have apt-get; then
	echo "deps: missing:$missing, and there is no apt-get to install with" >&2
	exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
	if ! have sudo; then
		echo "deps: installing$packages takes root or sudo" >&2
		exit 1
	fi
	as_root=sudo
fi
$as_root apt-get update -q
# The tests start servers of their own: the packages' services stay off.
$as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
	apt-get install -y -q --no-install-recommends $packages </dev/null
for package in $packages; do
	$as_root service "$package" stop >/dev/null 2>&1 || true
	$as_root update-rc.d "$package" disable >/dev/null 2>&1 || true
done
for name in $missing; do
	have "$name" || { echo "deps: $name is still missing" >&2; exit 1; }
done
