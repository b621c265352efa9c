package istiod

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"time"
	"unsafe"

	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"istio.io/istio/pilot/pkg/bootstrap"
	"istio.io/istio/pkg/cluster"
	kubelib "istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/kube/multicluster"
)

const systemNamespace = "istio-system"

// server is istiod with the addresses on which it listens.
type server struct {
	istiod   *bootstrap.Server
	listener net.Listener
	stop     chan struct{}
	debug    string
}

type serverOptions struct {
	dir              string
	address          string
	domain           string
	primary          *inMemory
	remotes          []*inMemory
	maxConnectionAge time.Duration
}

func start(o serverOptions) (*server, error) {
	args := bootstrap.NewPilotArgs(func(p *bootstrap.PilotArgs) {
		p.Namespace = systemNamespace
		p.ShutdownDuration = time.Second
		p.MeshConfigFile = meshFile(o.dir)
		p.NetworksConfigFile = filepath.Join(o.dir, "meshNetworks.yaml")
		p.RegistryOptions.Registries = []string{"Kubernetes"}
		p.RegistryOptions.ClusterRegistriesNamespace = systemNamespace
		p.RegistryOptions.KubeOptions.ClusterID = cluster.ID(o.primary.id)
		p.RegistryOptions.KubeOptions.DomainSuffix = o.domain
		// Empty addresses move plaintext gRPC, monitoring and the webhooks to the HTTP port, so that istiod binds two
		// free ports and no fixed one.
		p.ServerOptions.HTTPAddr = "127.0.0.1:0"
		p.ServerOptions.SecureGRPCAddr = "127.0.0.1:0"
		p.ServerOptions.TLSOptions.TLSMinVersion = bootstrap.TLSMinVersion1_2
		p.KeepaliveOptions.MaxServerConnectionAge = o.maxConnectionAge
	})
	if err := args.Complete(); err != nil {
		return nil, fmt.Errorf("istiod's arguments: %w", err)
	}
	if err := registerRemotes(o.primary, o.remotes); err != nil {
		return nil, err
	}
	s, err := bootstrap.NewServer(args, func(s *bootstrap.Server) {
		*privateField[kubelib.Client](s, "kubeClient") = o.primary.client
	})
	if err != nil {
		return nil, fmt.Errorf("create istiod: %w", err)
	}
	useInMemoryRemotes(s, o.remotes)
	// Start would listen on a port that it does not report. Serving here also allows a restarted istiod to use its
	// previous address.
	*privateField[string](s, "secureGrpcAddress") = ""
	out := &server{istiod: s, stop: make(chan struct{}), debug: *privateField[string](s, "httpAddr")}
	if err := s.Start(out.stop); err != nil {
		return nil, fmt.Errorf("start istiod: %w", err)
	}
	if out.listener, err = net.Listen("tcp", o.address); err != nil {
		return nil, fmt.Errorf("listen for CA and ADS: %w", err)
	}
	secure := *privateField[*grpc.Server](s, "secureGrpcServer")
	go func() { _ = secure.Serve(out.listener) }()
	return out, nil
}

// registerRemotes writes one Secret per remote cluster, from which istiod learns about them in production.
func registerRemotes(primary *inMemory, remotes []*inMemory) error {
	for _, r := range remotes {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Name:      "istio-remote-secret-" + r.id,
				Namespace: systemNamespace,
				Labels:    map[string]string{multicluster.MultiClusterSecretLabel: "true"},
			},
			Data: map[string][]byte{r.id: []byte("in memory")},
		}
		_, err := primary.client.Kube().CoreV1().Secrets(systemNamespace).Create(context.Background(), secret, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("register remote cluster %s: %w", r.id, err)
		}
	}
	return nil
}

// useInMemoryRemotes makes istiod use the in-memory client instead of connecting to the cluster of a Secret.
func useInMemoryRemotes(s *bootstrap.Server, remotes []*inMemory) {
	controller := *privateField[*multicluster.Controller](s, "multiclusterController")
	controller.ClientBuilder = func(_ []byte, id cluster.ID, _ ...func(*rest.Config)) (kubelib.Client, error) {
		for _, r := range remotes {
			if r.id == string(id) {
				return r.client, nil
			}
		}
		return nil, fmt.Errorf("no folder for remote cluster %s", id)
	}
}

// meshFile returns DIR/mesh.yaml. If it does not exist, it creates a file that disables telemetry providers, which
// Envoy without Istio's extensions requires.
func meshFile(dir string) string {
	file := filepath.Join(dir, "mesh.yaml")
	if _, err := os.Stat(file); err == nil {
		return file
	}
	fallback := filepath.Join(dir, "run", "mesh.yaml")
	// If this fails, istiod reports the missing file and uses its defaults.
	_ = os.WriteFile(fallback, []byte("defaultProviders: {}\n"), 0o600)
	return fallback
}

// privateField returns an unexported field of istiod's server, because bootstrap has no other way to use an in-memory
// Kubernetes. If the field has been renamed, it panics with the name of the field.
func privateField[T any](s *bootstrap.Server, name string) *T {
	field := reflect.ValueOf(s).Elem().FieldByName(name)
	if !field.IsValid() {
		panic(fmt.Sprintf("bootstrap.Server has no field %s: adapt internal/istiod/server.go to the new Istio version", name))
	}
	return (*T)(unsafe.Pointer(field.UnsafeAddr()))
}

func (s *server) rootPEM() []byte {
	return s.istiod.CA.GetCAKeyCertBundle().GetRootCertPem()
}

// shutdown stops istiod. It does not wait long, because the process ends afterwards.
func (s *server) shutdown() {
	_ = s.listener.Close()
	close(s.stop)
	done := make(chan struct{})
	go func() {
		s.istiod.WaitUntilCompletion()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(500 * time.Millisecond):
	}
}
