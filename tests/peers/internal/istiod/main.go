// Package istiod runs Istio's real control plane with Kubernetes APIs in memory.
package istiod

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"istio.io/istio/pkg/log"

	"sidestep/tests/peers/internal/wire"
)

// ready is the event that contains the address of istiod.
type ready struct {
	Event    string   `json:"event"`
	Address  string   `json:"address"`
	RootCert string   `json:"root_cert"`
	Debug    string   `json:"debug"`
	Clusters []string `json:"clusters"`
	Primary  string   `json:"primary"`
}

// Main is "peers istiod".
func Main(args []string) error {
	flags := flag.NewFlagSet("peers istiod", flag.ExitOnError)
	dir := flags.String("dir", "", "folder with clusters/<cluster-id>/*.yaml and, optionally, mesh.yaml, meshNetworks.yaml and cacerts/")
	primary := flags.String("primary", "", "id of the config cluster (default: the first by name)")
	address := flags.String("address", "127.0.0.1:0", "where CA and ADS listen (TLS)")
	domain := flags.String("domain", "cluster.local", "DNS suffix of the cluster's services")
	caDir := flags.String("ca-dir", "", "folder of a plugged CA: ca-cert.pem, ca-key.pem, cert-chain.pem, root-cert.pem (default: DIR/cacerts if it exists)")
	age := flags.Duration("max-connection-age", 0, "end connections after this time, as istiod does every 30 minutes (0: never)")
	logLevel := flags.String("log", "warn", "istiod's log level on standard error: debug, info, warn, error, none")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" {
		return errors.New("--dir is required: the folder that contains clusters/<cluster-id>/*.yaml")
	}
	abs, err := filepath.Abs(*dir)
	if err != nil {
		return err
	}
	if err := chooseCADir(abs, *caDir); err != nil {
		return err
	}
	if err := configureLog(*logLevel); err != nil {
		return err
	}
	if *age == 0 {
		*age = 1<<63 - 1
	}
	return run(abs, *primary, serverOptions{dir: abs, address: *address, domain: *domain, maxConnectionAge: *age})
}

func run(dir, primary string, o serverOptions) error {
	ids, err := clusterIDs(dir)
	if err != nil {
		return err
	}
	if primary == "" {
		primary = ids[0]
	}
	if !slices.Contains(ids, primary) {
		return fmt.Errorf("--primary %s: no folder clusters/%s in %s", primary, primary, dir)
	}
	runDir := filepath.Join(dir, "run")
	if err := os.MkdirAll(runDir, 0o700); err != nil {
		return err
	}
	// istiod reads certificates and tokens from the working directory.
	if err := os.Chdir(runDir); err != nil {
		return err
	}
	tokens := newTokenBook()
	clusters := map[string]*inMemory{}
	for _, id := range ids {
		c, err := newCluster(id, tokens)
		if err != nil {
			return err
		}
		if err := c.load(filepath.Join(dir, "clusters", id)); err != nil {
			return err
		}
		clusters[id] = c
		if id == primary {
			o.primary = c
		} else {
			o.remotes = append(o.remotes, c)
		}
	}
	if err := o.primary.restoreCASecret(dir, systemNamespace); err != nil {
		return err
	}
	s, err := start(o)
	if err != nil {
		return err
	}
	if err := o.primary.keepCASecret(dir, systemNamespace); err != nil {
		return err
	}
	rootCert := filepath.Join(dir, "root-cert.pem")
	if err := os.WriteFile(rootCert, s.rootPEM(), 0o644); err != nil {
		return err
	}
	err = wire.Send(ready{
		Event: "ready", Address: s.listener.Addr().String(), RootCert: rootCert,
		Debug: s.debug, Clusters: ids, Primary: primary,
	})
	if err != nil {
		return err
	}
	control := &controller{clusters: clusters, primary: primary, tokens: tokens}
	err = wire.Lines(control.handle)
	s.shutdown()
	return err
}

// chooseCADir sets the folder of a plugged CA for istiod. If the folder does not exist, istiod creates a self-signed
// CA.
func chooseCADir(dir, caDir string) error {
	if caDir == "" {
		if _, set := os.LookupEnv("ROOT_CA_DIR"); set {
			return nil
		}
		caDir = filepath.Join(dir, "cacerts")
	}
	abs, err := filepath.Abs(caDir)
	if err != nil {
		return err
	}
	return os.Setenv("ROOT_CA_DIR", abs)
}

func clusterIDs(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "clusters"))
	if err != nil {
		return nil, fmt.Errorf("read the folder of clusters: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() {
			ids = append(ids, e.Name())
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%s contains no folder; create clusters/<cluster-id>/ with the YAML of the cluster", filepath.Join(dir, "clusters"))
	}
	return ids, nil
}

func configureLog(level string) error {
	levels := map[string]log.Level{
		"debug": log.DebugLevel, "info": log.InfoLevel, "warn": log.WarnLevel, "error": log.ErrorLevel, "none": log.NoneLevel,
	}
	chosen, ok := levels[level]
	if !ok {
		return fmt.Errorf("--log %s: use debug, info, warn, error or none", level)
	}
	options := log.DefaultOptions()
	options.SetDefaultOutputLevel(log.OverrideScopeName, chosen)
	return log.Configure(options)
}
