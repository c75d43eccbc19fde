# Debian's packages by what they are for, and the installing of those that are missing. Sourced by
# the scripts beside it; runs nothing by itself.
# shellcheck shell=bash disable=SC2034

build_packages=(gcc libc6-dev meson ninja-build pkg-config python3 libopenblas-openmp-dev libhdf5-dev
    libinih-dev zlib1g-dev libjson-c-dev librandom123-dev libvips-dev
    libjs-chart.js)
# For export --format onnx: the program is built without it where a release has not got these.
onnx_packages=(libprotobuf-c-dev protobuf-c-compiler libonnx-dev)
# With what get-data.sh needs.
quickstart_packages=("${build_packages[@]}" dataset-fashion-mnist curl ca-certificates)
test_packages=("${quickstart_packages[@]}" libcriterion-dev python3-pytest python3-numpy
    python3-pil python3-h5py python3-torch python3-matplotlib chromium wget)
check_packages=("${test_packages[@]}" clang clang-format clang-tidy libomp-dev valgrind shellcheck
    git)

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "Only root may install packages, and there is no sudo here. As root: $*" >&2
        return 1
    fi
}

install_missing() { # PACKAGE...
    local package missing=()
    for package; do
        case "$(dpkg-query --show --showformat='${db:Status-Abbrev}' "$package" 2>/dev/null)" in
        ?i*) ;;
        *) missing+=("$package") ;;
        esac
    done
    if [ ${#missing[@]} -eq 0 ]; then
        return
    fi
    echo "Installing ${missing[*]}"
    # A source of packages that cannot be reached need not be the one these come from.
    as_root apt-get --quiet update </dev/null || echo "apt-get update failed; going on" >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes --no-install-recommends \
        -o DPkg::Lock::Timeout=300 install "${missing[@]}" </dev/null
}

# The same for what nothing else depends on.
install_if_offered() { # PACKAGE...
    install_missing "$@" || echo "Going on without $*" >&2
}

# Makes build/ what the arguments (Meson's options) say, whatever state it is in.
configure_build() { # OPTION...
    meson setup build >/dev/null || meson setup --wipe build
    meson configure build "$@"
}
