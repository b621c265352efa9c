# Functions that build the shared and the static library for a release.
# shellcheck shell=bash disable=SC2034,SC2154

# The system libraries that the static library needs. tests/suite/package.rs compares them with the output of rustc.
static_libs='-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc'

# build: builds both libraries, and prints the directory that contains them. The crate type `lib` is not built, because it would
# prevent link-time optimisation. The C code of the crypto library is hardened, and the paths of the builder are removed.
build() (
  cd "$here/.." || exit
  CFLAGS="-fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2 ${CFLAGS-}" \
    RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo ${RUSTFLAGS-}" \
    cargo rustc --locked --profile libsidestep -p sidestep-ffi --lib --crate-type cdylib,staticlib \
    --message-format json-render-diagnostics | sed -n 's|.*"\([^"]*\)/libsidestep\.so".*|\1|p'
)

# close_archive DIRECTORY OUTPUT: turns the static library into one object that exports the same names as the shared
# library. So a program can contain other Rust libraries, and unused code is removed. (The bitcode of Rust's standard
# library is removed too, because other versions of LLVM cannot read it.)
close_archive() {
  local work
  work=$(mktemp -d)
  objdump -T "$1/libsidestep.so" | sed -n 's/.*\.text.* \(sidestep_.*\)/\1/p' >"$work/names"
  sed 's/^/--undefined=/' "$work/names" >"$work/roots"
  ld.bfd -r --gc-sections --force-group-allocation "@$work/roots" -o "$work/whole.o" "$1/libsidestep.a"
  objcopy --keep-global-symbols="$work/names" --remove-section=.llvmbc --remove-section=.llvmcmd --strip-unneeded \
    "$work/whole.o" "$work/sidestep.o"
  rm -f "$2"
  ar rcsD "$2" "$work/sidestep.o"
  rm -r "$work"
}

# least_glibc LIBRARY: prints the glibc version that a library requires.
least_glibc() {
  objdump -T "$1" | sed -n 's/.*GLIBC_\([0-9.]*\).*/\1/p' | sort -V | tail -n 1
}
