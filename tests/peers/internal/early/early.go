// Package early runs before any package of Istio is initialised. Istio's packages read the environment and log to
// standard output while they are initialised, so main would be too late.
//
// Go initialises ready packages in the order of their import paths. This package imports only os and syscall, which
// Istio's packages also import, and its path ("go.sidestep.dev/...") sorts before "istio.io/...". Both properties must
// be preserved.
package early

import (
	"os"
	"path/filepath"
	"syscall"
)

// Events is the real standard output. Descriptor 1 is redirected to standard error, so that output of a library cannot
// appear between the lines of the protocol.
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

// setIstiodDefaults sets environment variables that istiod needs here. Variables of the caller take precedence.
func setIstiodDefaults() {
	for _, v := range [][2]string{
		// Adds localhost to istiod's certificate, which has no IP SANs.
		{"ISTIOD_CUSTOM_HOST", "localhost"},
		// These two filters exist only in Istio's Envoy build, and the gateways run an Envoy without them.
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
