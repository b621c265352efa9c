package smoke

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sidestep/tests/peers/internal/istiod"
	"sidestep/tests/peers/internal/workload"
)

// mesh contains the peers of the smoke test: istiod, the gateway of network2, and the forecast behind it.
type mesh struct {
	dir      string
	block    string // 127.n: the first two octets of this run's addresses
	app      string // the address of the app behind the sidecar
	children []*child
	istiod   *child
	gateway  *child
}

// newMesh writes the YAML of the tour with its own addresses, so that two runs do not collide.
func newMesh(tour fs.FS) (*mesh, error) {
	dir, err := os.MkdirTemp("", "peers-smoke-")
	if err != nil {
		return nil, err
	}
	m := &mesh{dir: dir, block: fmt.Sprintf("127.%d", 2+rand.IntN(250))}
	if m.app, err = freeLoopback(); err != nil {
		return nil, err
	}
	own := strings.NewReplacer("127.0.1.", m.block+".1.", "127.0.2.", m.block+".2.", "127.0.0.1:8081", m.app)
	root, err := fs.Sub(tour, "testdata/tour")
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(dir, path)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		text, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, []byte(own.Replace(string(text))), 0o644)
	})
	return m, err
}

func freeLoopback() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (m *mesh) up(stderr io.Writer, sidecar bool) error {
	var err error
	if m.istiod, err = m.spawn(stderr, "istiod", "--dir", m.dir); err != nil {
		return err
	}
	gatewayToken, err := m.token("istio-system", "istio-eastwestgateway-service-account")
	if err != nil {
		return err
	}
	forecastToken, err := m.token("weather", "forecast")
	if err != nil {
		return err
	}
	m.gateway, err = m.spawn(stderr, m.join("gateway", gatewayToken,
		"--dir", filepath.Join(m.dir, "gateway2"), "--network", "network2", "--address", m.block+".2.2")...)
	if err != nil {
		return err
	}
	args := m.join("workload", forecastToken,
		"--namespace", "weather", "--service-account", "forecast", "--listen", m.block+".2.10:8080")
	if sidecar {
		args = m.join("sidecar", forecastToken, "--dir", filepath.Join(m.dir, "sidecar"), "--network", "network2",
			"--namespace", "weather", "--service-account", "forecast", "--labels", "app=forecast",
			"--address", m.block+".2.10", "--port", "8080", "--app", m.app)
	}
	_, err = m.spawn(stderr, args...)
	return err
}

// join adds the arguments that every member of the mesh needs.
func (m *mesh) join(command, token string, more ...string) []string {
	return append([]string{
		command, "--istiod", m.istiod.ready.Address, "--root", m.istiod.ready.RootCert,
		"--token", token, "--cluster", "cluster2",
	}, more...)
}

func (m *mesh) spawn(stderr io.Writer, args ...string) (*child, error) {
	c, err := spawn(stderr, args...)
	if err != nil {
		return nil, err
	}
	m.children = append(m.children, c)
	return c, nil
}

func (m *mesh) token(namespace, account string) (string, error) {
	token, err := istiod.Mint(namespace, account, []string{"istio-ca"}, time.Hour)
	if err != nil {
		return "", err
	}
	file := filepath.Join(m.dir, account+".token")
	return file, os.WriteFile(file, []byte(token), 0o600)
}

// vm returns the issuer of a client outside both networks.
func (m *mesh) vm() (*workload.Issuer, error) {
	token, err := m.token("legacy", "vm")
	return &workload.Issuer{
		Istiod: m.istiod.ready.Address, RootFile: m.istiod.ready.RootCert, TokenFile: token, Cluster: "cluster1",
	}, err
}

func (m *mesh) down() error {
	var errs []error
	for i := len(m.children) - 1; i >= 0; i-- {
		errs = append(errs, m.children[i].end())
	}
	return errors.Join(append(errs, os.RemoveAll(m.dir))...)
}
