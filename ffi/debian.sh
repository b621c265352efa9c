#!/usr/bin/env bash
# Builds the Debian packages of libsidestep, without root: libsidestep0.1 with the shared library, and libsidestep-dev with the
# headers, the static library, the guide and the examples.
#
#   ffi/debian.sh [--built DIR] DIRECTORY
#
# DIRECTORY    the directory for the two package files
# --built DIR  use libsidestep.so and libsidestep.a in DIR instead of building them
#
# Requires dpkg-dev and the requirements of install.sh. DEBFULLNAME and DEBEMAIL are the maintainer, and
# SOURCE_DATE_EPOCH is the date in the changelog.
set -euo pipefail
umask 022
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/packaging/version.sh"
. "$here/packaging/fill.sh"

fail() {
  printf 'debian.sh: %s\n' "$*" >&2
  exit 1
}

options=() folder=''
while [ $# -gt 0 ]; do
  case $1 in
    --built) [ -n "${2-}" ] || fail '--built needs a directory' && options=(--built "$(realpath -- "$2")") && shift ;;
    -h | --help) sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
    -*) fail "unknown option $1; --help lists the options" ;;
    *) folder=$1 ;;
  esac
  shift
done
[ -n "$folder" ] || fail 'the directory for the packages is missing; see --help'
command -v cargo >/dev/null || fail 'missing: cargo (https://rustup.rs)'
for tool in dpkg-architecture dpkg-deb dpkg-shlibdeps; do
  command -v "$tool" >/dev/null || fail "missing: $tool (dpkg-dev)"
done
mkdir -p "$folder" && folder=$(realpath -- "$folder")

architecture=$(dpkg-architecture -qDEB_HOST_ARCH)
triplet=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
maintainer="${DEBFULLNAME:-The Sidestep developers} <${DEBEMAIL:-sidestep@localhost}>"
date=$(date -uRd "@${SOURCE_DATE_EPOCH:-$(date +%s)}")
mit=$(sed 's/^$/./; s/^/ /' "$here/../LICENSE-MIT")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dev=$work/dev runtime=$work/runtime
"$here/install.sh" "${options[@]}" --destdir "$dev" --prefix /usr --libdir "lib/$triplet"
mkdir -p "$runtime/usr/lib/$triplet" "$runtime/DEBIAN"
mv "$dev/usr/lib/$triplet/libsidestep.so.$abi"* "$runtime/usr/lib/$triplet"
# Debian policy: shared libraries are not executable.
chmod 644 "$runtime/usr/lib/$triplet/libsidestep.so.$version"

# Both packages contain code of other authors, and so their licences.
documents=$dev/usr/share/doc/libsidestep-dev
mkdir -p "$runtime/usr/share/doc"
mv "$dev/usr/share/doc/sidestep" "$documents"
rm "$documents"/LICENSE-{MIT,APACHE}
cp -r "$documents" "$runtime/usr/share/doc/libsidestep$abi"
cp -r "$here/README.md" "$here/examples" "$documents"
cp "$here/python/sidestep.py" "$documents/examples"

# The dependencies of the shared library, from the packages on this machine.
mkdir "$work/debian"
printf 'Source: sidestep\n\nPackage: libsidestep%s\nArchitecture: any\n' "$abi" >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O "$runtime/usr/lib/$triplet/libsidestep.so.$version" |
  sed -n 's/^shlibs:Depends=//p')

pack() { # pack NAME ROOT CONTROL: builds a package from the directory ROOT
  local name=$1 root=$2 control=$3 size
  install -d "$root/usr/share/doc/$name" "$root/DEBIAN"
  fill debian/copyright.in mit >"$root/usr/share/doc/$name/copyright"
  fill debian/changelog.in version maintainer date | gzip -9n >"$root/usr/share/doc/$name/changelog.gz"
  size=$(du -k -s --apparent-size --exclude DEBIAN "$root" | cut -f 1)
  (cd "$root" && find usr -type f -printf '%P\0' | sort -z | sed -z 's|^|usr/|' | xargs -0 md5sum >DEBIAN/md5sums)
  fill "debian/$control" abi version architecture maintainer size depends >"$root/DEBIAN/control"
  dpkg-deb --root-owner-group --build "$root" "$folder" >/dev/null
  printf '%s/%s_%s_%s.deb\n' "$folder" "$name" "$version" "$architecture"
}

printf 'libsidestep %s libsidestep%s (>= %s)\n' "$abi" "$abi" "$version" >"$runtime/DEBIAN/shlibs"
echo 'activate-noawait ldconfig' >"$runtime/DEBIAN/triggers"
pack "libsidestep$abi" "$runtime" runtime.control.in
pack libsidestep-dev "$dev" dev.control.in
