package proxy

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// options describe one proxy: its identity, its addresses, and its istiod.
type options struct {
	role           string // router or sidecar, as the agent names them
	dir            string
	istiod         string
	root           string
	token          string
	cluster        string
	network        string
	address        string
	namespace      string
	serviceAccount string
	name           string
	labels         string
	envoy          string
	template       string
	logLevel       string
	timeout        time.Duration
}

func (o *options) register(flags *flag.FlagSet) {
	flags.StringVar(&o.dir, "dir", "", "folder for this proxy only; it is created")
	flags.StringVar(&o.istiod, "istiod", "", "address of istiod, from its ready event")
	flags.StringVar(&o.root, "root", "", "file of the mesh's root certificate")
	flags.StringVar(&o.token, "token", "", "file of the service account token; read again for each use")
	flags.StringVar(&o.cluster, "cluster", "", "id of the cluster that the proxy belongs to")
	flags.StringVar(&o.network, "network", "", "network that the proxy is on")
	flags.StringVar(&o.address, "address", "", "the proxy's own address, from 127.0.0.0/8")
	flags.StringVar(&o.namespace, "namespace", o.namespace, "namespace of the pod of the proxy")
	flags.StringVar(&o.serviceAccount, "service-account", o.serviceAccount, "service account of that pod")
	flags.StringVar(&o.name, "name", "", "name of that pod")
	flags.StringVar(&o.labels, "labels", o.labels, "labels of that pod, k=v,k=v")
	flags.StringVar(&o.envoy, "envoy", "", "Envoy's binary (default: the one installed by build.sh)")
	flags.StringVar(&o.template, "bootstrap", "", "the agent's bootstrap template (default: the one copied by build.sh)")
	flags.StringVar(&o.logLevel, "envoy-log", "warning", "Envoy's log level, for DIR/proxy.log")
	flags.DurationVar(&o.timeout, "timeout", 30*time.Second, "timeout until the proxy is ready")
}

// complete checks the flags and sets derived values.
func (o *options) complete() error {
	for name, value := range map[string]string{
		"dir": o.dir, "istiod": o.istiod, "root": o.root, "token": o.token, "cluster": o.cluster, "address": o.address,
		"namespace": o.namespace, "service-account": o.serviceAccount,
	} {
		if value == "" {
			return fmt.Errorf("--%s is required", name)
		}
	}
	for _, file := range []*string{&o.dir, &o.root, &o.token} {
		abs, err := filepath.Abs(*file)
		if err != nil {
			return err
		}
		*file = abs
	}
	if net.ParseIP(o.address) == nil {
		return fmt.Errorf("--address %s is not an IP address", o.address)
	}
	if o.name == "" {
		o.name = o.serviceAccount + "-" + o.cluster
	}
	// The certificate of istiod contains localhost and not the loopback address.
	host, port, err := net.SplitHostPort(o.istiod)
	if err != nil {
		return fmt.Errorf("--istiod %s: %w", o.istiod, err)
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		o.istiod = net.JoinHostPort("localhost", port)
	}
	return o.findPeers()
}

// findPeers finds Envoy and the bootstrap template in the folder of this program, where build.sh installs them.
func (o *options) findPeers() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own executable: %w", err)
	}
	built := filepath.Dir(self)
	if o.envoy == "" {
		found, _ := filepath.Glob(filepath.Join(built, "venv/lib/python*/site-packages/envoy/_bin/envoy"))
		if len(found) == 0 {
			return fmt.Errorf("no Envoy under %s; run tests/peers/build.sh, or pass --envoy", filepath.Join(built, "venv"))
		}
		o.envoy = found[0]
	}
	if o.template == "" {
		o.template = filepath.Join(built, "envoy_bootstrap.json")
	}
	for _, file := range []string{o.envoy, o.template, o.root, o.token} {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("required file: %w", err)
		}
	}
	return nil
}

// labelMap parses --labels and adds the labels that the injector adds.
func (o *options) labelMap() (map[string]string, error) {
	labels := map[string]string{"service.istio.io/canonical-name": o.serviceAccount}
	if o.network != "" {
		labels["topology.istio.io/network"] = o.network
	}
	for _, pair := range strings.Split(o.labels, ",") {
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, errors.New("--labels: " + pair + " is not key=value")
		}
		labels[key] = value
	}
	return labels, nil
}
