# fill TEMPLATE NAME...: prints the template, with each @NAME@ replaced by the value of the variable NAME.
# shellcheck shell=bash disable=SC2154
fill() {
  local text name
  text=$(<"$here/packaging/$1")
  for name in "${@:2}"; do
    text=${text//@$name@/"${!name}"}
  done
  printf '%s\n' "$text"
}
