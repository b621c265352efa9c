package workload

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"
)

// testCA signs certificates with a SPIFFE ID.
type testCA struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newTestCA(t *testing.T) *testCA {
	t.Helper()
	ca := &testCA{t: t}
	ca.cert, ca.key = ca.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return ca
}

func (ca *testCA) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	parent, signer := ca.cert, ca.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		ca.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return cert, key
}

func (ca *testCA) identity(spiffe string) *Identity {
	ca.t.Helper()
	uri, err := url.Parse(spiffe)
	if err != nil {
		ca.t.Fatal(err)
	}
	cert, key := ca.sign(&x509.Certificate{
		URIs:        []*url.URL{uri},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	return &Identity{
		Certificate: tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert},
		Roots:       roots, SPIFFE: spiffe, trustDomain: uri.Host,
	}
}

// handshake connects a client to a workload and returns the connection state or the error.
func handshake(server *tls.Config, client *tls.Config) (tls.ConnectionState, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer func() { _ = l.Close() }()
	go func() {
		if raw, err := l.Accept(); err == nil {
			serveLines("me", tls.Server(raw, server))
		}
	}()
	client.InsecureSkipVerify = true
	conn, err := tls.Dial("tcp", l.Addr().String(), client)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer func() { _ = conn.Close() }()
	// In TLS 1.3, a rejection by the server arrives with the first read.
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		return tls.ConnectionState{}, err
	}
	if _, err := io.ReadFull(conn, make([]byte, len("me: hello\n"))); err != nil {
		return tls.ConnectionState{}, err
	}
	return conn.ConnectionState(), nil
}

func TestHandshakeBehavesLikeASidecar(t *testing.T) {
	ca := newTestCA(t)
	ids := &current{}
	ids.held.Store(ca.identity("spiffe://cluster.local/ns/weather/sa/forecast"))
	server := ids.tlsConfig(tls.VersionTLS13, nil)
	member := []tls.Certificate{ca.identity("spiffe://cluster.local/ns/legacy/sa/vm").Certificate}
	foreign := []tls.Certificate{ca.identity("spiffe://other/ns/legacy/sa/vm").Certificate}

	s, err := handshake(server, &tls.Config{Certificates: member, NextProtos: []string{"istio"}})
	if err != nil || s.NegotiatedProtocol != "" {
		t.Errorf("only istio: %q, %v", s.NegotiatedProtocol, err)
	}
	s, err = handshake(server, &tls.Config{Certificates: member, NextProtos: []string{"istio-h2", "istio", "h2"}})
	if err != nil || s.NegotiatedProtocol != "h2" {
		t.Errorf("h2: %q, %v", s.NegotiatedProtocol, err)
	}
	if _, err = handshake(server, &tls.Config{}); err == nil {
		t.Error("a client without certificate was served")
	}
	if _, err = handshake(server, &tls.Config{Certificates: foreign}); err == nil {
		t.Error("a client of another trust domain was served")
	}
	if _, err = handshake(ids.tlsConfig(tls.VersionTLS13, []string{"other"}), &tls.Config{Certificates: foreign}); err != nil {
		t.Errorf("a client of an aliased trust domain: %v", err)
	}
	s, err = handshake(ids.tlsConfig(tls.VersionTLS12, nil), &tls.Config{Certificates: member})
	if err != nil || s.Version != tls.VersionTLS12 {
		t.Errorf("TLS 1.2: %x, %v", s.Version, err)
	}
}
