#!/bin/sh
# System libraries that the wheel of opencv-python links to and a bare Debian lacks.
set -eu
apt-get update
apt-get install --yes --no-install-recommends libgl1 libglib2.0-0
