# The version of libsidestep, and the ABI version in the name of the shared library.
# shellcheck shell=bash disable=SC2034,SC2154
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$here/../Cargo.toml")
IFS=. read -r major minor _ <<<"$version"
abi=$major
# Before 1.0, every minor version can change the ABI.
if [ "$major" = 0 ]; then abi=0.$minor; fi
