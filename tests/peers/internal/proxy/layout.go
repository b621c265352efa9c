package proxy

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sidestep/tests/peers/internal/early"
)

// layOut creates the folder that the agent expects; its paths are relative to its working directory.
func layOut(o *options) error {
	// With the socket of an earlier agent that was killed, the agent would not use the CA.
	if err := os.RemoveAll(filepath.Join(o.dir, "var/run/secrets/workload-spiffe-uds")); err != nil {
		return fmt.Errorf("remove the socket of an earlier agent: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own executable: %w", err)
	}
	// The files are linked and not copied, so that a test can renew a token or a root by writing the file that it
	// passed.
	for path, target := range map[string]string{
		"var/run/secrets/tokens/istio-token": o.token,
		"etc/certs/root-cert.pem":            o.root,
		early.EnvoyName:                      self,
	} {
		if err := link(filepath.Join(o.dir, path), target); err != nil {
			return err
		}
	}
	labels, err := o.labelMap()
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(&text, "%s=%q\n", key, labels[key])
	}
	file := filepath.Join(o.dir, "etc/istio/pod/labels")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text.String()), 0o644)
}

func link(path, target string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.Symlink(target, path)
}
