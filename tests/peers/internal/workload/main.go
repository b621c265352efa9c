// Package workload simulates an application with a sidecar: an mTLS server with a certificate of the mesh.
package workload

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"sidestep/tests/peers/internal/wire"
)

// ready is the event of a workload that accepts connections.
type ready struct {
	Event  string `json:"event"`
	Listen string `json:"listen"`
	SPIFFE string `json:"spiffe"`
	Name   string `json:"name"`
}

// peer contains the properties of a caller from the handshake.
type peer struct {
	spiffe, sni, alpn, version string
}

// Main is "peers workload".
func Main(args []string) error {
	flags := flag.NewFlagSet("peers workload", flag.ExitOnError)
	var i Issuer
	flags.StringVar(&i.Istiod, "istiod", "", "address of istiod, from its ready event")
	flags.StringVar(&i.RootFile, "root", "", "file of the mesh's root certificate")
	flags.StringVar(&i.TokenFile, "token", "", "file of the service account token, which decides the identity; read again for each use")
	flags.StringVar(&i.Cluster, "cluster", "", "id of the cluster that the workload belongs to")
	flags.DurationVar(&i.TTL, "ttl", 0, "requested lifetime (default: the default of the CA)")
	namespace := flags.String("namespace", "", "expected namespace in the certificate (default: not checked)")
	account := flags.String("service-account", "", "expected service account in the certificate (default: not checked)")
	listen := flags.String("listen", "127.0.0.1:0", "address to serve on")
	name := flags.String("name", "", "name in the answers (default: service account and cluster)")
	mode := flags.String("mode", "http", "http, or tcp to echo lines")
	tls12 := flags.Bool("tls12", false, "serve TLS 1.2 only")
	aliases := flags.String("trust-domain-aliases", "", "further trust domains whose clients are accepted, comma-separated")
	timeout := flags.Duration("timeout", 30*time.Second, "timeout of the first certificate")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if i.Istiod == "" || i.RootFile == "" || i.TokenFile == "" {
		return errors.New("--istiod, --root and --token are required")
	}
	if *mode != "http" && *mode != "tcp" {
		return fmt.Errorf("--mode %s: use http or tcp", *mode)
	}
	if *name == "" {
		*name = strings.Trim(*account+"-"+i.Cluster, "-")
	}
	ids := &current{issuer: &i}
	if err := ids.obtain(*timeout); err != nil {
		return err
	}
	if err := checkOwn(ids.held.Load().SPIFFE, *namespace, *account); err != nil {
		return err
	}
	go ids.renew()
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	maxVersion := uint16(tls.VersionTLS13)
	if *tls12 {
		maxVersion = tls.VersionTLS12
	}
	config := ids.tlsConfig(maxVersion, strings.FieldsFunc(*aliases, func(r rune) bool { return r == ',' }))
	serve := func(c net.Conn, _ peer) { serveLines(*name, c) }
	if *mode == "http" {
		serve = newHTTPApp(*name, ids, l.Addr()).serve
	}
	go acceptAll(l, config, serve)
	err = wire.Send(ready{Event: "ready", Listen: l.Addr().String(), SPIFFE: ids.held.Load().SPIFFE, Name: *name})
	if err != nil {
		return err
	}
	<-wire.Closed()
	return nil
}

// checkOwn rejects a certificate of another account, whose cause would otherwise be searched in the client under test.
func checkOwn(spiffe, namespace, account string) error {
	if namespace != "" && !strings.Contains(spiffe, "/ns/"+namespace+"/") {
		return fmt.Errorf("istiod issued %s, but --namespace is %s: the token file belongs to another account", spiffe, namespace)
	}
	if account != "" && !strings.HasSuffix(spiffe, "/sa/"+account) {
		return fmt.Errorf("istiod issued %s, but --service-account is %s: the token file belongs to another account", spiffe, account)
	}
	return nil
}

func acceptAll(l net.Listener, config *tls.Config, serve func(net.Conn, peer)) {
	for {
		raw, err := l.Accept()
		if err != nil {
			fmt.Fprintf(os.Stderr, "peers workload: accept: %v\n", err)
			return
		}
		go func() {
			c := tls.Server(raw, config)
			ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
			defer cancel()
			if err := c.HandshakeContext(ctx); err != nil {
				fmt.Fprintf(os.Stderr, "peers workload: handshake with %s: %v\n", raw.RemoteAddr(), err)
				_ = raw.Close()
				return
			}
			s := c.ConnectionState()
			p := peer{sni: s.ServerName, alpn: s.NegotiatedProtocol, version: tls.VersionName(s.Version)}
			p.spiffe, _, _ = spiffeOf(s.PeerCertificates[0])
			serve(c, p)
		}()
	}
}
