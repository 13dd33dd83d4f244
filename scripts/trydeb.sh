#!/bin/sh
# Installs a package in a bare Debian system, runs the command of its unit there, and removes it:
# scripts/trydeb.sh [PACKAGE]. Needs root and debootstrap. The system is a directory, so systemd does
# not run: the script passes the socket, the credential and the notification socket in its place.
set -eu

cd "$(dirname "$0")/.."
package=${1:-$(ls dist/packages/*_"$(dpkg --print-architecture)".deb)}
root=$(mktemp -d)
started=
finish() {
	for pid in $started; do kill "$pid" 2>/dev/null || true; done
	umount "$root/proc" 2>/dev/null || true
	rm -rf --one-file-system "$root"
}
trap finish EXIT

debootstrap --variant=minbase "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root" >"$root.log" 2>&1 || {
	tail -n 5 "$root.log" >&2
	exit 1
}
rm "$root.log"
cp "$package" "$root/tmp/respool.deb"
mount -t proc proc "$root/proc"
clean="/usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin"
in_root() { chroot "$root" $clean "$@"; }

in_root dpkg -i /tmp/respool.deb
in_root respool --version
[ "$(stat -c %a "$root/etc/respool/url")" = 600 ]

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis-server --port "$port" --bind 127.0.0.1 --save '' --dir "$root/tmp" >/dev/null &
started=$!
echo "redis://127.0.0.1:$port?max_connections=4" >"$root/etc/respool/url"

# As systemd: socket 3 listens, the credential is a file, and the program reports READY.
command=$(sed -n 's/^ExecStart=//p' "$root/usr/lib/systemd/system/respool.service")
listen=$(sed -n 's/^ListenStream=//p' "$root/usr/lib/systemd/system/respool.socket")
mkdir -p "$root/run/credentials/respool.service" "$root/run/respool"
cp "$root/etc/respool/url" "$root/run/credentials/respool.service/url"
cat >"$root/tmp/start" <<'PERL'
use strict; use IO::Socket::INET; use IO::Socket::UNIX; use Fcntl;
my ($listen, @command) = @ARGV;
my $notify = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => '/run/notify') or die "notify: $!";
my $socket = IO::Socket::INET->new(LocalAddr => $listen, Listen => 128, ReuseAddr => 1) or die "listen: $!";
my $pid = fork;
if (!$pid) {
	require POSIX;
	POSIX::dup2(fileno $socket, 3);
	open my $three, '+<&=', 3; fcntl $three, F_SETFD, 0;
	@ENV{'LISTEN_FDS', 'LISTEN_FDNAMES', 'LISTEN_PID', 'NOTIFY_SOCKET', 'CREDENTIALS_DIRECTORY'} =
		(1, 'respool', $$, '/run/notify', '/run/credentials/respool.service');
	exec @command or die "exec: $!";
}
$SIG{TERM} = sub { kill 'TERM', $pid };
alarm 60;
while (1) { my $text; defined recv($notify, $text, 4096, 0) or die "no READY: $!"; last if $text =~ /^READY=1$/m; }
alarm 0;
open my $ready, '>', '/tmp/ready'; close $ready;
1 while waitpid($pid, 0) != $pid;
exit $? >> 8;
PERL
# shellcheck disable=SC2086 # the words of the command
chroot "$root" $clean perl /tmp/start "$listen" $(echo "$command" | sed 's|\${CREDENTIALS_DIRECTORY}|/run/credentials/respool.service|') &
service=$!
started="$started $service"
until [ -e "$root/tmp/ready" ]; do
	kill -0 "$service"
	sleep 0.1
done
in_root respool ping "redis://$listen" --count 3
in_root respool who http+unix:///run/respool/serve.sock
kill "$service"
wait "$service"

in_root dpkg --purge respool
rm -rf "$root"/tmp/* "$root/run/credentials" "$root/run/respool"
left=$(cd "$root" && find . -path ./proc -prune -o -name '*respool*' -print)
[ -z "$left" ] || { echo "trydeb: the removed package leaves $left" >&2; exit 1; }
echo "trydeb: the command of the unit ran in a bare Debian, and the package is removed"
