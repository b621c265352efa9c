# Which libsidestep this is: the version of the workspace, and the interface that is in the shared library's name.
# shellcheck shell=bash disable=SC2034,SC2154
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$here/../Cargo.toml")
IFS=. read -r major minor _ <<<"$version"
abi=$major
# Before 1.0 every minor version may change it.
if [ "$major" = 0 ]; then abi=0.$minor; fi
