package early

import (
	"os"
	"syscall"
)

const (
	// EnvoyName is the name under which this program turns into Envoy: the agent starts a link of that name.
	EnvoyName = "envoy"
	// EnvoyPath names the variable that holds the path of the real Envoy.
	EnvoyPath      = "PEERS_ENVOY"
	prSetPDeathSig = 1
)

// execEnvoy becomes Envoy, bound to die with the agent that started it. The agent itself gives its Envoy no such
// bond: killed hard, it would leave one behind that holds the ports. The bond survives exec, and package
// initialisation runs on the main thread, which is the one that exec keeps.
func execEnvoy() {
	parent := os.Getppid()
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetPDeathSig, uintptr(syscall.SIGKILL), 0); errno != 0 {
		fail("bind Envoy to its agent: " + errno.Error())
	}
	if os.Getppid() != parent {
		os.Exit(1) // The agent died in between.
	}
	real := os.Getenv(EnvoyPath)
	err := syscall.Exec(real, append([]string{real}, os.Args[1:]...), os.Environ())
	fail("start Envoy at " + EnvoyPath + "=" + real + ": " + err.Error())
}
