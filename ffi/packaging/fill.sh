# fill TEMPLATE NAME...: prints it with the value of each variable NAME in the place of @NAME@.
# shellcheck shell=bash disable=SC2154
fill() {
  local text name
  text=$(<"$here/packaging/$1")
  for name in "${@:2}"; do
    text=${text//@$name@/"${!name}"}
  done
  printf '%s\n' "$text"
}
