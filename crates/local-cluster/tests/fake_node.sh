#!/bin/sh
# Stands in for a node where only the process matters: it accepts no connection, reads no settings,
# and waits.
trap "" HUP
echo "listening client=none peer=none node=0"
echo "setup-token OLDER"
echo "setup-token NEWER"
exec sleep 60
