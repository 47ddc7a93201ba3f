#!/bin/sh
set -eu
echo "Working on $(uname -s)"
