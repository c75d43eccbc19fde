#!/usr/bin/env bash
# Installs what the tests need, builds, runs all of them, and ends with their totals. Arguments are
# options for Meson: bash scripts/test.sh -Dwerror=true. May be run again at any time.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/packages.sh
source scripts/packages.sh

install_missing "${test_packages[@]}"
install_if_offered "${onnx_packages[@]}" python3-onnx
configure_build -Dtests=enabled "$@"
ninja -C build
status=0
meson test -C build --no-rebuild --print-errorlogs || status=$?
/usr/bin/python3 scripts/totals.py build/meson-logs/testlog.json || status=1
exit "$status"
