#!/bin/sh
# dpkg passes remove, rpm the number of packages that stay. Upgrades leave the
# gateway running.
set -e
case ${1:-} in
remove | 0) ;;
*) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
	systemctl disable --now respool.socket respool.service
fi
