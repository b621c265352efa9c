#!/usr/bin/env bash
# Builds libsidestep and installs it: shared and static library, headers, pkg-config and CMake files.
#
#   ffi/install.sh [--prefix DIR] [--destdir DIR] [--built DIR]
#
# --prefix DIR   where it goes; /usr/local
# --destdir DIR  put before the prefix, for packages
# --built DIR    takes the libraries from there instead of building them
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

prefix=/usr/local destdir='' built=''
while [ $# -gt 0 ]; do
  case $1 in
    --prefix) prefix=$2 ;;
    --destdir) destdir=$2 ;;
    --built) built=$2 ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
  esac
  shift 2
done

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$here/../Cargo.toml")
IFS=. read -r major minor _ <<<"$version"
abi=$major
if [ "$major" = 0 ]; then abi=0.$minor; fi
# What the static library needs of the system; tests/suite/package.rs links with it.
static_libs='-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc'

if [ -z "$built" ]; then
  (cd "$here/.." && cargo build --release -p sidestep-ffi)
  built=$here/../target/release
fi

lib=$destdir$prefix/lib include=$destdir$prefix/include
install -d "$lib/pkgconfig" "$lib/cmake/Sidestep" "$include"
install -m 644 "$here"/include/sidestep.h "$here"/include/sidestep.hpp "$include"
install -m 755 "$built/libsidestep.so" "$lib/libsidestep.so.$version"
install -m 644 "$built/libsidestep.a" "$lib/libsidestep.a"
strip --strip-unneeded "$lib/libsidestep.so.$version"
strip --strip-debug "$lib/libsidestep.a"
ln -sf "libsidestep.so.$version" "$lib/libsidestep.so.$abi"
ln -sf "libsidestep.so.$abi" "$lib/libsidestep.so"

fill() { # fill TEMPLATE TO
  sed -e "s/@VERSION@/$version/g; s/@ABI@/$abi/g; s/@MAJOR@/$major/g; s/@MINOR@/$minor/g; s/@STATIC_LIBS@/$static_libs/g" \
    "$here/packaging/$1" >"$2"
}
fill sidestep.pc.in "$lib/pkgconfig/sidestep.pc"
fill SidestepConfig.cmake.in "$lib/cmake/Sidestep/SidestepConfig.cmake"
fill SidestepConfigVersion.cmake.in "$lib/cmake/Sidestep/SidestepConfigVersion.cmake"

glibc=$(objdump -T "$lib/libsidestep.so.$version" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1)
printf 'libsidestep %s in %s: %s bytes stripped, needs %s\n' \
  "$version" "$prefix" "$(stat -c %s "$lib/libsidestep.so.$version")" "$glibc"
