#!/usr/bin/env bash
# Fetches a data set and checks what came: get-data.sh mnist [DIR]
# A file is there whole and right, or not at all; one that is right already is left alone.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: get-data.sh mnist [DIR]

Fetches the four files of MNIST (11 MB) into DIR (default: data/mnist) for
    [data]
    source = idx
    path = DIR

environment: MNIST_URL, the address that holds train-images-idx3-ubyte.gz and the others
TEXT
}

fail() {
    echo "get-data.sh: $*" >&2
    exit 1
}

mnist_urls="${MNIST_URL:-https://ossci-datasets.s3.amazonaws.com/mnist
https://storage.googleapis.com/cvdf-datasets/mnist}"

# name, and the MD5 of the file uncompressed: mirrors compress differently
mnist_files='train-images-idx3-ubyte 6bbc9ace898e44ae57da46a324031adb
train-labels-idx1-ubyte a25bea736e30d166cdddb491f175f624
t10k-images-idx3-ubyte 2646ac647ad5339dbf082846283269ea
t10k-labels-idx1-ubyte 27ae3e4e09519cfbb04c329615203637'

# The MD5 of what a gzip file holds; "damaged" where it cannot be read to its end.
md5_inside() {
    local sum
    if sum=$(gzip -dc -- "$1" 2>/dev/null | md5sum); then
        echo "${sum%% *}"
    else
        echo damaged
    fi
}

download() { # URL FILE
    if command -v curl >/dev/null; then
        curl --fail --silent --show-error --location --retry 2 --connect-timeout 20 \
            --speed-time 60 --output "$2" -- "$1"
    elif command -v wget >/dev/null; then
        wget --quiet --timeout=20 --tries=3 --output-document="$2" -- "$1"
    else
        fail "neither curl nor wget is installed"
    fi
}

partial=
trap 'if [ -n "$partial" ]; then rm -f -- "$partial"; fi' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fetch_file() { # DIR NAME MD5
    local file="$1/$2.gz" url found
    if [ -e "$file" ] && [ "$(md5_inside "$file")" = "$3" ]; then
        echo "$file: is there already"
        return
    fi
    partial=$(mktemp -- "$1/.$2.XXXXXX") || fail "$1: cannot write there"
    for url in $mnist_urls; do
        url="${url%/}/$2.gz"
        if ! download "$url" "$partial"; then
            echo "get-data.sh: $url: cannot be fetched" >&2
            continue
        fi
        found=$(md5_inside "$partial")
        if [ "$found" = "$3" ]; then
            chmod 644 -- "$partial"
            mv -f -- "$partial" "$file"
            partial=
            echo "$file: fetched from $url"
            return
        fi
        echo "get-data.sh: $url: MD5 of its content is $found; it must be $3" >&2
    done
    fail "$file: none of its sources gave it"
}

get_mnist() { # DIR
    mkdir -p -- "$1" || fail "$1: cannot be made"
    local name md5
    while read -r name md5; do
        fetch_file "$1" "$name" "$md5" </dev/null
    done <<<"$mnist_files"
}

case "${1-}" in
-h | --help)
    usage
    ;;
mnist)
    if [ $# -gt 2 ]; then
        usage >&2
        exit 2
    fi
    get_mnist "${2:-data/mnist}"
    ;;
*)
    usage >&2
    exit 2
    ;;
esac
