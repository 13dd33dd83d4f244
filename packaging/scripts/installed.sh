#!/bin/sh
# Starts nothing: /etc/respool/url needs the server first. A running gateway
# keeps the old program until systemctl restart respool, or reload with the
# drop-in upgrade.conf of the examples.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
