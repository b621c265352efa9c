// Package early runs before any package of Istio initialises. Istio reads its environment, and logs to standard
// output, while packages initialise; by the time main runs it is too late for both.
//
// The order is part of the language: among the packages that are ready, the one with the smallest import path
// goes first. This package imports only os and syscall, which Istio's packages import too, and its path
// ("go.sidestep.dev/...") sorts before "istio.io/...". Keep both properties.
package early

import (
	"os"
	"path/filepath"
	"syscall"
)

// Events is the real standard output. Descriptor 1 itself is pointed at standard error, so that nothing a
// library prints can end up between the protocol's lines.
var Events = os.Stdout

func init() {
	if filepath.Base(os.Args[0]) == EnvoyName {
		execEnvoy()
	}
	command := ""
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	if command == "agent" {
		return
	}
	claimStdout()
	if command == "istiod" {
		setIstiodDefaults()
	}
}

func claimStdout() {
	fd, err := syscall.Dup(1)
	if err != nil {
		fail("duplicate standard output: " + err.Error())
	}
	syscall.CloseOnExec(fd)
	if err := syscall.Dup3(2, 1, 0); err != nil {
		fail("point standard output at standard error: " + err.Error())
	}
	Events = os.NewFile(uintptr(fd), "events")
}

// setIstiodDefaults gives istiod what it needs here beyond its own defaults. A caller's value wins.
func setIstiodDefaults() {
	for _, v := range [][2]string{
		// Puts localhost into istiod's certificate; it has no IP SANs.
		{"ISTIOD_CUSTOM_HOST", "localhost"},
		// These two filters exist only in Istio's own Envoy build, not in the stock one that the gateways run.
		{"PILOT_ENABLE_METADATA_EXCHANGE", "false"},
		{"PILOT_ENABLE_ALPN_FILTER", "false"},
		{"POD_NAME", "istiod-peers"},
		{"POD_NAMESPACE", "istio-system"},
	} {
		if _, set := os.LookupEnv(v[0]); !set {
			_ = os.Setenv(v[0], v[1])
		}
	}
}

func fail(text string) {
	_, _ = os.Stderr.WriteString("peers: " + text + "\n")
	os.Exit(1)
}
