#!/usr/bin/env bash
# Builds and installs libsidestep: the shared and the static library, headers, files for pkg-config and CMake, and the
# licences of the code in the libraries.
#
#   ffi/install.sh [--prefix DIR] [--libdir DIR] [--destdir DIR] [--built DIR] [--uninstall]
#
# --prefix DIR   the installation prefix; the default is /usr/local
# --libdir DIR   the directory for libraries, absolute or relative to the prefix; the default is lib
# --destdir DIR  a directory that is put before both, for building packages
# --built DIR    use libsidestep.so and libsidestep.a in DIR instead of building them
# --uninstall    remove the files that an installation with the same options has installed
#
# Requires Rust 1.89 or later (https://rustup.rs), a C compiler and binutils. Builds as the current user, and writes only to
# cargo's target directory and to the directories above.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/packaging/version.sh"
. "$here/packaging/fill.sh"
. "$here/packaging/libraries.sh"
. "$here/packaging/licenses.sh"

fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

prefix=/usr/local libdir=lib destdir='' built='' uninstall=''
while [ $# -gt 0 ]; do
  case $1 in
    --prefix | --libdir | --destdir | --built)
      [ -n "${2-}" ] || fail "$1 needs a directory"
      declare "${1#--}=$2"
      shift
      ;;
    --uninstall) uninstall=yes ;;
    -h | --help) sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
    *) fail "unknown option $1; --help lists the options" ;;
  esac
  shift
done

# Make all paths absolute. `lib`, `include` and `doc` are the directories to write to, which are below --destdir.
prefix=$(realpath -m -s -- "$prefix")
case $libdir in /*) ;; *) libdir=$prefix/$libdir ;; esac
libdir=$(realpath -m -s -- "$libdir")
lib=$destdir$libdir include=$destdir$prefix/include doc=$destdir$prefix/share/doc/sidestep

remove() {
  rm -f "$include"/sidestep.{h,hpp} "$lib/libsidestep".{a,so} "$lib/libsidestep.so.$abi"{,.*} "$lib/pkgconfig/sidestep.pc"
  rm -rf "$lib/cmake/Sidestep"
  rm -f "$doc"/{THIRD-PARTY-LICENSES,LICENSE-MIT,LICENSE-APACHE}
  rmdir --ignore-fail-on-non-empty "$doc" 2>/dev/null || true
}

if [ -n "$uninstall" ]; then
  remove
  exit
fi

# Check the requirements before the build, which takes minutes.
missing=()
for tool in ar ld.bfd objcopy objdump strip; do
  command -v "$tool" >/dev/null || missing+=("$tool (binutils)")
done
# Also with --built, because the licences are those of the packages that cargo has downloaded.
command -v cargo >/dev/null || missing+=('cargo (https://rustup.rs)')
if [ -z "$built" ]; then
  command -v "${CC:-cc}" >/dev/null || missing+=("${CC:-cc} (a C compiler)")
else
  for library in so a; do
    [ -f "$built/libsidestep.$library" ] || fail "libsidestep.$library does not exist in $built"
  done
fi
[ ${#missing[@]} = 0 ] || fail "missing: $(printf '%s, ' "${missing[@]}" | sed 's/, $//')"
for folder in "$lib/pkgconfig" "$lib/cmake" "$include" "$doc"; do
  { install -d "$folder" && [ -w "$folder" ]; } ||
    fail "cannot write to $folder: choose another --prefix, or use --destdir and copy the files as root"
done

[ -n "$built" ] || built=$(build)

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
strip --strip-unneeded -o "$stage/libsidestep.so" "$built/libsidestep.so"
close_archive "$built" "$stage/libsidestep.a"
third_party_licenses >"$stage/THIRD-PARTY-LICENSES"

# The relative paths from the directory of each file to the prefix, and from the prefix to the libraries.
relative_libdir=$(realpath -m -s --relative-to="$prefix" -- "$libdir")
for file in pkgconfig/sidestep.pc cmake/Sidestep/SidestepConfig.cmake cmake/Sidestep/SidestepConfigVersion.cmake; do
  to_prefix=$(realpath -m -s --relative-to="$libdir/$(dirname "$file")" -- "$prefix")
  fill "${file##*/}.in" version abi major minor static_libs to_prefix relative_libdir >"$stage/${file##*/}"
done

# Remove an older version first, because it may have other files.
remove
install -D -m 644 -t "$include" "$here"/include/sidestep.{h,hpp}
install -D -m 644 -t "$lib" "$stage/libsidestep.a"
install -m 755 "$stage/libsidestep.so" "$lib/libsidestep.so.$version"
ln -sf "libsidestep.so.$version" "$lib/libsidestep.so.$abi"
ln -sf "libsidestep.so.$abi" "$lib/libsidestep.so"
install -D -m 644 -t "$lib/pkgconfig" "$stage/sidestep.pc"
install -D -m 644 -t "$lib/cmake/Sidestep" "$stage"/SidestepConfig{,Version}.cmake
install -D -m 644 -t "$doc" "$stage/THIRD-PARTY-LICENSES" "$here"/../LICENSE-{MIT,APACHE}

printf 'libsidestep %s: %s/libsidestep.so, %s bytes stripped, needs glibc %s\n' \
  "$version" "$lib" "$(stat -c %s "$stage/libsidestep.so")" "$(least_glibc "$stage/libsidestep.so")"

# The loader finds a new library in its own directories only after ldconfig.
if [ -z "$destdir" ]; then
  if PATH=$PATH:/sbin:/usr/sbin ldconfig -vNX 2>/dev/null | grep -q "^$libdir:"; then
    echo 'Run ldconfig as root, so that the loader finds the library.'
  else
    echo "The loader does not search $libdir: link programs with -Wl,-rpath,$libdir, or set LD_LIBRARY_PATH."
  fi
fi
