# The two libraries: how they are built for others than their builder, and what they need.
# shellcheck shell=bash disable=SC2034,SC2154

# What the static library needs of the system; tests/suite/package.rs compares it with what the compiler says.
static_libs='-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc'

# Builds both, and prints the folder that cargo has put them into. Both alone: with `lib` beside them nothing would be
# optimised across crates. The crypto library's C is hardened, and no path of the builder's stays in the result.
build() (
  cd "$here/.." || exit
  CFLAGS="-fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2 ${CFLAGS-}" \
    RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo ${RUSTFLAGS-}" \
    cargo rustc --locked --profile libsidestep -p sidestep-ffi --lib --crate-type cdylib,staticlib \
    --message-format json-render-diagnostics | sed -n 's|.*"\([^"]*\)/libsidestep\.so".*|\1|p'
)

# close_archive FOLDER TO: the static library as one object that shows the shared one's names and no other. So a program
# may have more of Rust in it, and what nothing refers to is left out. (Compilers of another version than rustc's stumble
# over the bitcode of Rust's standard library.)
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

# The newest version of glibc that a library has a symbol of.
least_glibc() {
  objdump -T "$1" | sed -n 's/.*GLIBC_\([0-9.]*\).*/\1/p' | sort -V | tail -n 1
}
