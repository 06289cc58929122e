#!/bin/sh
# Makes sure that Retort can be built and run here: a Swift toolchain and a few system packages.
#
#   scripts/setup.sh [COMMAND ...]     COMMANDs are further programs wanted, each named like its package (oclgrind, make)
#
# Says nothing when all is there. Otherwise installs what is missing (as root, or with sudo that asks no password), or prints the one
# command that does and exits 1. Knows Debian and Ubuntu; elsewhere it checks for the files themselves and says what to look for.
set -eu

SWIFT_MINIMUM=6.3

say() { printf '%s\n' "$*" >&2; }

# --- Swift -----------------------------------------------------------------------------------------------------------------------

how_to_get_swift() {
    say "Get it from https://www.swift.org/install/linux/ (swiftly, Swift's own installer, takes two minutes):"
    say "  swiftly install $SWIFT_MINIMUM && swiftly use $SWIFT_MINIMUM"
    say "Then open a new shell, so that 'swift' is on the PATH, and run the same command again."
    exit 1
}

if ! command -v swiftc >/dev/null 2>&1; then
    say "Retort is written in Swift and needs Swift $SWIFT_MINIMUM or later; there is no 'swiftc' on the PATH."
    how_to_get_swift
fi
version=$(swiftc --version 2>/dev/null | sed -n 's/.*Swift version \([0-9][0-9]*\.[0-9][0-9]*\).*/\1/p' | head -n 1)
if [ -z "$version" ]; then
    say "'swiftc --version' does not answer; the Swift at $(command -v swiftc) seems to be incomplete:"
    swiftc --version 2>&1 | head -n 5 >&2 || true
    how_to_get_swift
fi
if [ "${version%%.*}" -lt "${SWIFT_MINIMUM%%.*}" ] ||
    { [ "${version%%.*}" -eq "${SWIFT_MINIMUM%%.*}" ] && [ "${version#*.}" -lt "${SWIFT_MINIMUM#*.}" ]; }; then
    say "Retort needs Swift $SWIFT_MINIMUM or later; $(command -v swiftc) is Swift $version."
    how_to_get_swift
fi

# --- System packages -------------------------------------------------------------------------------------------------------------

# Ubuntu's name for what Debian calls libturbojpeg0.
turbojpeg="libturbojpeg0 libturbojpeg"
if grep -qi "^ID.*ubuntu" /etc/os-release 2>/dev/null; then turbojpeg="libturbojpeg libturbojpeg0"; fi

# One need a line: the package to install, then others that serve as well.
needs="
ocl-icd-libopencl1 nvidia-libopencl1 intel-oneapi-runtime-opencl
opencl-c-headers opencl-headers
libopenblas0-pthread libopenblas0-openmp libopenblas0-serial
pocl-opencl-icd
zlib1g
libzstd1
libpcre2-8-0
libpng16-16 libpng16-16t64
$turbojpeg
"

# Prints what is missing, one package after the other.
missing_packages() {
    # shellcheck disable=SC2086 # one word per package
    installed=" $(dpkg-query --show --showformat='${Package} ${db:Status-Status}\n' $needs 2>/dev/null |
        sed -n 's/ installed$//p' | tr '\n' ' ') "
    printf '%s\n' "$needs" | while read -r wanted others; do
        [ -n "$wanted" ] || continue
        found=no
        for package in $wanted $others; do
            case "$installed" in *" $package "*) found=yes ;; esac
        done
        [ $found = yes ] || printf '%s ' "$wanted"
    done
    for program in git "$@"; do
        command -v "$program" >/dev/null 2>&1 || printf '%s ' "$program"
    done
    # git fetches the Swift packages over https.
    [ -e /etc/ssl/certs/ca-certificates.crt ] || printf 'ca-certificates '
}

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
    absent=
    libraries=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null || true)
    case "$libraries" in *libOpenCL.so.1*) ;; *) absent="$absent  the OpenCL loader, libOpenCL.so.1 (ocl-icd)
" ;; esac
    case "$libraries" in *libopenblas.so.0*) ;; *) absent="$absent  OpenBLAS, libopenblas.so.0
" ;; esac
    case "$libraries" in *libz.so.1*) ;; *) absent="$absent  zlib, libz.so.1
" ;; esac
    case "$libraries" in *libzstd.so.1*) ;; *) absent="$absent  Zstandard, libzstd.so.1
" ;; esac
    case "$libraries" in *libpcre2-8.so.0*) ;; *) absent="$absent  PCRE2, libpcre2-8.so.0
" ;; esac
    case "$libraries" in *libpng16.so.16*) ;; *) absent="$absent  libpng, libpng16.so.16
" ;; esac
    case "$libraries" in *libturbojpeg.so.0*) ;; *) absent="$absent  TurboJPEG, libturbojpeg.so.0
" ;; esac
    [ -e /usr/include/CL/cl.h ] || absent="$absent  the OpenCL headers, CL/cl.h
"
    for program in git "$@"; do
        command -v "$program" >/dev/null 2>&1 || absent="$absent  $program
"
    done
    [ -n "$absent" ] || exit 0
    say "This is neither Debian nor Ubuntu, so Retort does not know how to install what it misses here:"
    printf '%s' "$absent" >&2
    say "Please install these with the system's own package manager (and PoCL, to run the tests without a GPU)."
    exit 1
fi

missing=$(missing_packages "$@")
missing=${missing% }
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    say "Retort needs system packages that are not installed here. Please run this once, then the same command again:"
    say ""
    say "  sudo apt-get update && sudo apt-get install -y --no-install-recommends $missing"
    say ""
    exit 1
fi

say "Installing $missing"
apt() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" >&2; }
apt update || say "apt-get update failed; trying with the package lists that are here."
# shellcheck disable=SC2086 # one word per package
if ! apt install -y --no-install-recommends $missing; then
    say "apt-get could not install: $missing"
    ! grep -qi ubuntu /etc/os-release 2>/dev/null ||
        say "On Ubuntu these packages are in 'universe': sudo add-apt-repository universe"
    exit 1
fi

missing=$(missing_packages "$@")
if [ -n "$missing" ]; then
    say "Still missing after the installation: $missing"
    exit 1
fi
