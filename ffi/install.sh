#!/usr/bin/env bash
# Builds libsidestep and installs it: shared and static library, headers, pkg-config and CMake files.
#
#   ffi/install.sh [--prefix DIR] [--libdir DIR] [--destdir DIR] [--built DIR] [--uninstall]
#
# --prefix DIR   where it goes; /usr/local
# --libdir DIR   where the libraries go, below the prefix unless absolute; lib
# --destdir DIR  put before both, for packages
# --built DIR    takes libsidestep.so and libsidestep.a from there instead of building them
# --uninstall    removes what an installation with the same options has put there
#
# Needs Rust 1.89 or later (https://rustup.rs), a C compiler and binutils. Builds as whoever calls it, and touches nothing
# outside of cargo's target folder and the places above.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/packaging/version.sh"
. "$here/packaging/fill.sh"
. "$here/packaging/libraries.sh"

fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

prefix=/usr/local libdir=lib destdir='' built='' uninstall=''
while [ $# -gt 0 ]; do
  case $1 in
    --prefix | --libdir | --destdir | --built)
      [ -n "${2-}" ] || fail "$1 needs a folder"
      declare "${1#--}=$2"
      shift
      ;;
    --uninstall) uninstall=yes ;;
    -h | --help) sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
    *) fail "there is no option $1 (--help lists them)" ;;
  esac
  shift
done

# All folders absolute; `lib` and `include` are where files are written, below the folder of a package that is made.
prefix=$(realpath -m -s -- "$prefix")
case $libdir in /*) ;; *) libdir=$prefix/$libdir ;; esac
libdir=$(realpath -m -s -- "$libdir")
lib=$destdir$libdir include=$destdir$prefix/include

remove() {
  rm -f "$include"/sidestep.{h,hpp} "$lib/libsidestep".{a,so} "$lib/libsidestep.so.$abi"{,.*} "$lib/pkgconfig/sidestep.pc"
  rm -rf "$lib/cmake/Sidestep"
}

if [ -n "$uninstall" ]; then
  remove
  exit
fi

# What could fail for want of something fails before the build.
missing=()
for tool in ar ld.bfd objcopy objdump strip; do
  command -v "$tool" >/dev/null || missing+=("$tool (binutils)")
done
if [ -z "$built" ]; then
  command -v cargo >/dev/null || missing+=('cargo (https://rustup.rs)')
  command -v "${CC:-cc}" >/dev/null || missing+=("${CC:-cc} (a C compiler)")
else
  for library in so a; do
    [ -f "$built/libsidestep.$library" ] || fail "there is no libsidestep.$library in $built"
  done
fi
[ ${#missing[@]} = 0 ] || fail "missing: $(printf '%s, ' "${missing[@]}" | sed 's/, $//')"
for folder in "$lib/pkgconfig" "$lib/cmake" "$include"; do
  { install -d "$folder" && [ -w "$folder" ]; } ||
    fail "cannot write to $folder: choose another --prefix, or a --destdir from which its owner copies"
done

[ -n "$built" ] || built=$(build)

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
strip --strip-unneeded -o "$stage/libsidestep.so" "$built/libsidestep.so"
close_archive "$built" "$stage/libsidestep.a"

# The ways from the file's own folder to the prefix, and from there to the libraries.
relative_libdir=$(realpath -m -s --relative-to="$prefix" -- "$libdir")
for file in pkgconfig/sidestep.pc cmake/Sidestep/SidestepConfig.cmake cmake/Sidestep/SidestepConfigVersion.cmake; do
  to_prefix=$(realpath -m -s --relative-to="$libdir/$(dirname "$file")" -- "$prefix")
  fill "${file##*/}.in" version abi major minor static_libs to_prefix relative_libdir >"$stage/${file##*/}"
done

# An older one goes first, whatever its files were.
remove
install -D -m 644 -t "$include" "$here"/include/sidestep.{h,hpp}
install -D -m 644 -t "$lib" "$stage/libsidestep.a"
install -m 755 "$stage/libsidestep.so" "$lib/libsidestep.so.$version"
ln -sf "libsidestep.so.$version" "$lib/libsidestep.so.$abi"
ln -sf "libsidestep.so.$abi" "$lib/libsidestep.so"
install -D -m 644 -t "$lib/pkgconfig" "$stage/sidestep.pc"
install -D -m 644 -t "$lib/cmake/Sidestep" "$stage"/SidestepConfig{,Version}.cmake

printf 'libsidestep %s: %s/libsidestep.so, %s bytes stripped, needs glibc %s\n' \
  "$version" "$lib" "$(stat -c %s "$stage/libsidestep.so")" "$(least_glibc "$stage/libsidestep.so")"

# Where the loader looks of its own accord, it has to be told that there is something new.
if [ -z "$destdir" ]; then
  if PATH=$PATH:/sbin:/usr/sbin ldconfig -vNX 2>/dev/null | grep -q "^$libdir:"; then
    echo 'Now let the loader know of it, as root: ldconfig'
  else
    echo "The loader does not look there: link programs with -Wl,-rpath,$libdir, or set LD_LIBRARY_PATH"
  fi
fi
