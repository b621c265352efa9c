package workload

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	ca "istio.io/api/security/v1alpha1"
)

// Identity is a certificate of the CA of the mesh, and the roots that verify peers.
type Identity struct {
	Certificate tls.Certificate
	Roots       *x509.CertPool
	SPIFFE      string
	trustDomain string
}

// Issuer requests certificates from istiod like the agent of a sidecar.
type Issuer struct {
	Istiod    string
	RootFile  string
	TokenFile string
	Cluster   string
	TTL       time.Duration
}

// Issue requests one certificate with a new key.
func (i *Issuer) Issue(ctx context.Context) (*Identity, error) {
	roots, err := os.ReadFile(i.RootFile)
	if err != nil {
		return nil, fmt.Errorf("read the mesh's root certificate: %w", err)
	}
	token, err := os.ReadFile(i.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("read the token: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	// istiod takes the name from the token and ignores the names in the request.
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	csr := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	chain, err := i.request(ctx, roots, strings.TrimSpace(string(token)), string(csr))
	if err != nil {
		return nil, fmt.Errorf("certificate from istiod at %s with the token of %s: %w", i.Istiod, i.TokenFile, err)
	}
	return newIdentity(chain, key, roots)
}

func (i *Issuer) request(ctx context.Context, roots []byte, token, csr string) ([]string, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots) {
		return nil, fmt.Errorf("%s contains no certificate", i.RootFile)
	}
	// The certificate of istiod contains no IP address, so the expected name is set.
	creds := credentials.NewTLS(&tls.Config{RootCAs: pool, ServerName: "istiod.istio-system.svc", MinVersion: tls.VersionTLS12})
	conn, err := grpc.NewClient("passthrough:///"+i.Istiod, grpc.WithTransportCredentials(creds), grpc.WithContextDialer(
		func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token, "clusterid", i.Cluster)
	answer, err := ca.NewIstioCertificateServiceClient(conn).CreateCertificate(ctx, &ca.IstioCertificateRequest{
		Csr: csr, ValidityDuration: int64(i.TTL.Seconds()),
	})
	if err != nil {
		return nil, err
	}
	if len(answer.CertChain) < 2 {
		return nil, fmt.Errorf("istiod sent %d chain elements, expected a leaf and a root at least", len(answer.CertChain))
	}
	return answer.CertChain, nil
}

// newIdentity uses all elements but the last as the chain, and the last element as the trust bundle.
func newIdentity(chain []string, key *ecdsa.PrivateKey, fileRoots []byte) (*Identity, error) {
	last := len(chain) - 1
	id := &Identity{Roots: x509.NewCertPool()}
	id.Roots.AppendCertsFromPEM(fileRoots)
	id.Roots.AppendCertsFromPEM([]byte(chain[last]))
	for _, element := range chain[:last] {
		for rest := []byte(element); ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			id.Certificate.Certificate = append(id.Certificate.Certificate, block.Bytes)
		}
	}
	if len(id.Certificate.Certificate) == 0 {
		return nil, errors.New("istiod's chain contains no certificate")
	}
	leaf, err := x509.ParseCertificate(id.Certificate.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("istiod's leaf certificate: %w", err)
	}
	id.Certificate.Leaf, id.Certificate.PrivateKey = leaf, key
	if id.SPIFFE, id.trustDomain, err = spiffeOf(leaf); err != nil {
		return nil, fmt.Errorf("istiod's leaf certificate: %w", err)
	}
	return id, nil
}

// spiffeOf returns the SPIFFE ID of a certificate and its trust domain.
func spiffeOf(c *x509.Certificate) (id, trustDomain string, err error) {
	if len(c.URIs) != 1 {
		return "", "", fmt.Errorf("%d URI names, expected exactly one", len(c.URIs))
	}
	uri := c.URIs[0]
	if uri.Scheme != "spiffe" {
		return "", "", fmt.Errorf("%s is not a SPIFFE ID", uri)
	}
	return uri.String(), uri.Host, nil
}
