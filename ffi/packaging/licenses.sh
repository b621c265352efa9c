# Functions that collect the licences of the code in the library.
# shellcheck shell=bash disable=SC2154

# The packages whose archives contain no licence text, each with a package of the same repository that has it.
declare -A same_repository=([asn1-rs-impl]=asn1-rs [tonic-prost]=tonic)

# third_party_licenses: prints the licence texts and copyright notices of all packages that the library is built from
# (including the C code in them) and of Rust's standard library. Equal texts are printed once. Fails if a text is missing.
third_party_licenses() (
  set -euo pipefail
  cd "$here/.."
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  host=$(rustc -vV | sed -n 's/^host: //p')

  # The directory of each package with a fixed version, by name and version.
  declare -A folders
  while IFS=$'\t' read -r name version folder; do
    folders["$name $version"]=$folder
  done < <(cargo metadata --locked --format-version 1 --filter-platform "$host" |
    grep -o '"manifest_path":"[^"]*"' | sed 's/^"manifest_path":"//; s/"$//' |
    xargs -d '\n' awk -v OFS='\t' '
      FNR == 1 { name = version = "" }
      /^\[/ { inside = $0 == "[package]" }
      inside && /^name = "/ { split($0, part, "\""); name = part[2] }
      inside && /^version = "/ { split($0, part, "\""); version = part[2] }
      name && version { sub("/[^/]*$", "", FILENAME); print name, version, FILENAME; name = "" }')

  # The texts: lines with a package and a file.
  list=$work/list

  packages=$(cargo tree --locked -q -p sidestep-ffi -e normal --target "$host" --prefix none --format '{p}|{l}' |
    sed 's/ (\*)$//; s/ (proc-macro)//; /(\//d; s/ v\([^ |]*\)/ \1/' | sort -u)
  while IFS='|' read -r package license; do
    name=${package% *} folder=${folders[$package]-}
    [ -n "$folder" ] || { echo "licenses.sh: cargo does not know where $package is" >&2 && exit 1; }
    texts=$(license_files "$folder")
    if [ -z "$texts" ] && [ -n "${same_repository[$name]-}" ]; then
      for other in "${!folders[@]}"; do
        [ "${other% *}" != "${same_repository[$name]}" ] || texts=$(license_files "${folders[$other]}")
      done
    fi
    [ -n "$texts" ] || { echo "licenses.sh: no licence text of $package ($license) in $folder" >&2 && exit 1; }
    while read -r text; do
      printf '%s (%s)\t%s\n' "$package" "$license" "$text" >>"$list"
    done <<<"$texts"
  done <<<"$packages"

  # Rust's standard library: its notices, and the texts of the licences that they name.
  documents=$(rustc --print sysroot)/share/doc/rust
  [ -f "$documents/COPYRIGHT-library.html" ] ||
    { echo "licenses.sh: $documents has no COPYRIGHT-library.html: use the Rust of rustup" >&2 && exit 1; }
  std="Rust's standard library $(rustc -V | cut -d ' ' -f 2)"
  sed -E 's/<[^>]*>//g; s/&lt;/</g; s/&gt;/>/g; s/&quot;/"/g; s/&#3[49];|&#x27;/'"'"'/g; s/&amp;/\&/g; s/^[[:space:]]+$//' \
    "$documents/COPYRIGHT-library.html" | cat -s >"$work/notices"
  printf '%s\t%s\n' "$std" "$work/notices" >>"$list"
  for text in "$documents"/licenses/*.txt; do
    if grep -qwF -- "$(basename "$text" .txt)" "$work/notices"; then printf '%s\t%s\n' "$std" "$text" >>"$list"; fi
  done

  printf 'libsidestep contains the following software of other authors, under the following licences.\n'
  # Group the packages by the checksum of their texts.
  paste <(cut -f 2 "$list" | xargs -d '\n' sha256sum | cut -d ' ' -f 1) "$list" | LC_ALL=C sort -t $'\t' -k 2,2 |
    awk -F '\t' -v line="$(printf '%.0s-' {1..100})" '
      !($1 in packages) { order[++count] = $1; file[$1] = $3 }
      !(($1, $2) in seen) { seen[$1, $2]; packages[$1] = packages[$1] $2 "\n" }
      END {
        for (i = 1; i <= count; i++) {
          sum = order[i]
          printf "\n%s\n%s%s\n\n", line, packages[sum], line
          while ((getline text < file[sum]) > 0) print text
          close(file[sum])
        }
      }'
)

# license_files DIRECTORY: prints the paths of the files with licences and notices.
license_files() {
  find "$1" -type f ! -name '*.rs' \( -iname 'license*' -o -iname 'licence*' -o -iname 'copying*' -o -iname 'notice*' \
    -o -iname 'copyright*' -o -iname 'unlicense*' \) | sort
}
