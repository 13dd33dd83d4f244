#!/bin/sh
# Starts a primary, two replicas and three sentinels on 127.0.0.1, prints the
# URL of the service, and ends them all with Ctrl-C or SIGTERM.
#
#   ./examples/sentinel/start.sh [first port, 7000]
#
# It needs redis-server, of Debian's packages redis-server or redis-sentinel.
# The data nodes use the ports from the first one on, the sentinels those from
# 10 above it. All files are in a temporary directory, which is removed at the end.
set -eu

first=${1:-7000}
name=mymaster
case $first in
'' | *[!0-9]*) echo "first port is '$first': want a number" >&2; exit 2 ;;
esac
command -v redis-server >/dev/null || { echo "redis-server is not installed: apt-get install redis-server" >&2; exit 1; }

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

for i in 0 1 2; do
	port=$((first + i))
	mkdir "$dir/node$i"
	set -- --port "$port" --bind 127.0.0.1 --dir "$dir/node$i" --save "" --repl-diskless-sync-delay 0 \
		--logfile "$dir/node$i/log"
	[ $i -eq 0 ] || set -- "$@" --replicaof 127.0.0.1 "$first"
	redis-server "$@" &
	pids="$pids $!"
done
for i in 0 1 2; do
	port=$((first + 10 + i))
	mkdir "$dir/sentinel$i"
	cat >"$dir/sentinel$i/conf" <<-CONF
		port $port
		bind 127.0.0.1
		dir $dir/sentinel$i
		logfile $dir/sentinel$i/log
		sentinel monitor $name 127.0.0.1 $first 2
		sentinel down-after-milliseconds $name 2000
		sentinel failover-timeout $name 10000
	CONF
	redis-server "$dir/sentinel$i/conf" --sentinel &
	pids="$pids $!"
done

# The set is complete when each sentinel knows the replicas and the other sentinels.
complete() {
	for i in 0 1 2; do
		redis-cli -p $((first + 10 + i)) sentinel master $name 2>/dev/null | tr '\n' ' ' |
			grep -q 'num-slaves 2 num-other-sentinels 2 ' || return 1
	done
}
tries=0
until complete; do
	tries=$((tries + 1))
	[ $tries -lt 150 ] || { echo "the set was not complete within 30 s; its logs:" >&2; tail -n 5 "$dir"/*/log >&2; exit 1; }
	for pid in $pids; do
		kill -0 "$pid" 2>/dev/null || { echo "a process ended; the logs:" >&2; tail -n 5 "$dir"/*/log >&2; exit 1; }
	done
	sleep 0.2
done

echo "ready: redis+sentinel://127.0.0.1:$((first + 10)),127.0.0.1:$((first + 11)),127.0.0.1:$((first + 12))/$name"
wait
