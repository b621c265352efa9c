package early

import (
	"os"
	"syscall"
)

const (
	// EnvoyName is the name under which this program becomes Envoy: the agent starts a link with that name.
	EnvoyName = "envoy"
	// EnvoyPath is the variable that contains the path of the real Envoy.
	EnvoyPath      = "PEERS_ENVOY"
	prSetPDeathSig = 1
)

// execEnvoy replaces this process by Envoy, which the kernel ends together with the agent that started it. Without
// this, an Envoy whose agent was killed would continue to run and keep its ports. The setting survives exec, and
// package initialisation runs on the main thread, which exec preserves.
func execEnvoy() {
	parent := os.Getppid()
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetPDeathSig, uintptr(syscall.SIGKILL), 0); errno != 0 {
		fail("bind Envoy to its agent: " + errno.Error())
	}
	if os.Getppid() != parent {
		os.Exit(1) // The agent has ended in the meantime.
	}
	real := os.Getenv(EnvoyPath)
	err := syscall.Exec(real, append([]string{real}, os.Args[1:]...), os.Environ())
	fail("start Envoy at " + EnvoyPath + "=" + real + ": " + err.Error())
}
