#!/bin/sh
# Installs what the tests need beside Go: redis-server and redis-sentinel, from
# Debian's packages. Does nothing where they are there.
set -eu

have() { command -v "$1" >/dev/null 2>&1; }

missing=
for name in redis-server redis-sentinel; do
	have "$name" || missing="$missing $name"
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
		echo "deps: installing$missing takes root or sudo" >&2
		exit 1
	fi
	as_root=sudo
fi
$as_root apt-get update -q
# The tests start servers of their own: the package's services stay off.
$as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
	apt-get install -y -q --no-install-recommends $missing </dev/null
for name in $missing; do
	$as_root service "$name" stop >/dev/null 2>&1 || true
done
for name in $missing; do
	have "$name" || { echo "deps: $name is still missing" >&2; exit 1; }
done
