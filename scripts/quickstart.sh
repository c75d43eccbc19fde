#!/usr/bin/env bash
# From a fresh Debian 12 or 13 to a trained network: installs what is missing, builds, trains
# LeNet-5 on Fashion-MNIST, and writes the report. May be run again at any time.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/packages.sh
source scripts/packages.sh

config=configs/fashion/lenet5.ini
run=runs/lenet5-fashion.h5
report=runs/lenet5-fashion.html

install_missing "${quickstart_packages[@]}"
install_if_offered "${onnx_packages[@]}"
configure_build --buildtype=release
ninja -C build --quiet colonnade
build/colonnade train "$config" --set "run.output=$run"
build/colonnade report "$run" -o "$report"

cat <<TEXT

Trained: $run (the run file), $report (open it in a browser).

What to try next:
  build/colonnade eval $run            precision and recall of every class
  build/colonnade summary $config   what the network consists of and costs
  build/colonnade train $config --set conv1.filters=16 --out runs/wider.h5
  build/colonnade bench $config     images per second here, node by node
  build/colonnade doctor               what this machine gives, and what slows it
  bash scripts/get-data.sh mnist && build/colonnade train configs/mnist/lenet5.ini
  bash scripts/test.sh                 all tests
TEXT
