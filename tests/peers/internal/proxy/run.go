package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sidestep/tests/peers/internal/early"
	"sidestep/tests/peers/internal/wire"
)

// running is an agent with its Envoy.
type running struct {
	cmd   *exec.Cmd
	admin *admin
	log   string
	done  chan struct{}
	err   error // of the agent; valid once done is closed
}

// start creates the folder and starts the agent, which starts Envoy.
func start(o *options, extraEnv ...string) (*running, error) {
	if err := layOut(o); err != nil {
		return nil, fmt.Errorf("lay out %s: %w", o.dir, err)
	}
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	adminPort, statusPort, envoyStatus, prometheus := ports[0], ports[1], ports[2], ports[3]
	config, err := json.Marshal(map[string]any{
		"discoveryAddress": o.istiod,
		"binaryPath":       filepath.Join(o.dir, early.EnvoyName),
		"configPath":       "./cfg",
		"proxyAdminPort":   adminPort,
		"statusPort":       statusPort,
		"concurrency":      1,
		// Stopping a peer must not wait until connections have drained.
		"drainDuration":            "1s",
		"terminationDrainDuration": "0.001s",
	})
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own executable: %w", err)
	}
	logFile := filepath.Join(o.dir, "proxy.log")
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()

	cmd := exec.Command(self, "agent", "proxy", o.role,
		"--domain", o.namespace+".svc.cluster.local", "--proxyLogLevel", o.logLevel)
	cmd.Dir = o.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), defaults(
		// The debug port of the agent is fixed, so it is disabled.
		"PROXY_XDS_DEBUG_VIA_AGENT=false",
	)...)
	cmd.Env = append(cmd.Env,
		"PROXY_CONFIG="+string(config),
		early.EnvoyPath+"="+o.envoy,
		"INSTANCE_IP="+o.address,
		"POD_NAME="+o.name,
		"POD_NAMESPACE="+o.namespace,
		"SERVICE_ACCOUNT="+o.serviceAccount,
		"CA_ADDR="+o.istiod,
		"XDS_ROOT_CA=./etc/certs/root-cert.pem",
		"CA_ROOT_CA=./etc/certs/root-cert.pem",
		"ISTIO_BOOTSTRAP="+o.template,
		"ISTIO_META_CLUSTER_ID="+o.cluster,
		"ISTIO_META_NETWORK="+o.network,
		"ISTIO_META_UNPRIVILEGED_POD=true",
		"ENVOY_STATUS_PORT="+strconv.Itoa(envoyStatus),
		"ENVOY_PROMETHEUS_PORT="+strconv.Itoa(prometheus),
	)
	cmd.Env = append(cmd.Env, extraEnv...)
	// The kernel ends the agent together with this process, and Envoy together with the agent (see package early). The
	// setting belongs to the thread that forks, so this goroutine must keep its thread.
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the agent: %w", err)
	}
	r := &running{cmd: cmd, admin: newAdmin(adminPort), log: logFile, done: make(chan struct{})}
	go func() {
		r.err = cmd.Wait()
		close(r.done)
	}()
	return r, nil
}

// defaults returns the KEY=value pairs whose keys are not set in the environment.
func defaults(pairs ...string) []string {
	var out []string
	for _, pair := range pairs {
		key, _, _ := strings.Cut(pair, "=")
		if _, set := os.LookupEnv(key); !set {
			out = append(out, pair)
		}
	}
	return out
}

// await polls until check succeeds. The error of check is the reason why it does not.
func (r *running) await(timeout time.Duration, check func() error) error {
	deadline := time.After(timeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last := errors.New("not checked yet")
	for {
		select {
		case <-r.done:
			return fmt.Errorf("the agent ended (%v); %s", r.err, r.lastLines())
		case <-deadline:
			return fmt.Errorf("not ready after %s: %w; %s", timeout, last, r.lastLines())
		case <-tick.C:
			if last = check(); last == nil {
				return nil
			}
			if p := (permanentError{}); errors.As(last, &p) {
				return last
			}
		}
	}
}

// permanentError stops the wait, because more time would not help.
type permanentError struct{ error }

// serve runs the proxy until standard input is closed or the agent ends.
func (r *running) serve() error {
	select {
	case <-wire.Closed():
		r.stop()
		return nil
	case <-r.done:
		return fmt.Errorf("the agent ended unexpectedly (%v); %s", r.err, r.lastLines())
	}
}

// stop stops the agent, which stops Envoy. If that takes too long, it kills the agent.
func (r *running) stop() {
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-r.done:
	case <-time.After(3 * time.Second):
		_ = r.cmd.Process.Kill()
		<-r.done
	}
}

func (r *running) lastLines() string {
	data, err := os.ReadFile(r.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) > 15 {
		lines = lines[len(lines)-15:]
	}
	return r.log + " ends with:\n  " + strings.Join(lines, "\n  ")
}
