#!/bin/sh
# Starts a Redis Cluster of three primaries with a replica each on 127.0.0.1,
# prints its URL, and ends all nodes with Ctrl-C or SIGTERM.
#
#   ./examples/cluster/start.sh [first port, 7100]
#
# It needs redis-server and redis-cli, of Debian's packages redis-server and
# redis-tools. The nodes use six ports from the first one on, and for their bus
# the ports 10000 above. All files are in a temporary directory, which is removed
# at the end.
set -eu

first=${1:-7100}
case $first in
'' | *[!0-9]*) echo "first port is '$first': want a number" >&2; exit 2 ;;
esac
for program in redis-server redis-cli; do
	command -v $program >/dev/null || { echo "$program is not installed: apt-get install redis-server redis-tools" >&2; exit 1; }
done

dir=$(mktemp -d)
pids=
stop() {
	trap - EXIT INT TERM
	# shellcheck disable=SC2086
	[ -z "$pids" ] || kill $pids 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$dir"
	exit "${1:-0}"
}
trap 'stop $?' EXIT
trap 'stop 0' INT TERM

addrs=
for i in 0 1 2 3 4 5; do
	port=$((first + i))
	mkdir "$dir/node$i"
	redis-server --port "$port" --bind 127.0.0.1 --dir "$dir/node$i" --save "" --logfile "$dir/node$i/log" \
		--cluster-enabled yes --cluster-node-timeout 2000 --repl-diskless-sync-delay 0 &
	pids="$pids $!"
	addrs="$addrs 127.0.0.1:$port"
done
for addr in $addrs; do
	tries=0
	until redis-cli -p "${addr#*:}" ping >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || { echo "no node answers at $addr" >&2; exit 1; }
		sleep 0.1
	done
done
# shellcheck disable=SC2086
redis-cli --cluster create $addrs --cluster-replicas 1 --cluster-yes >"$dir/create" || { cat "$dir/create" >&2; exit 1; }

# The cluster is complete when each node reports that it is ok.
for addr in $addrs; do
	tries=0
	until redis-cli -p "${addr#*:}" cluster info 2>/dev/null | grep -q cluster_state:ok; do
		tries=$((tries + 1))
		[ $tries -lt 200 ] || { echo "the node at $addr does not join the cluster" >&2; exit 1; }
		sleep 0.1
	done
done
echo "redis+cluster://127.0.0.1:$first,127.0.0.1:$((first + 1)),127.0.0.1:$((first + 2))"
wait
