package workload

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
)

// serverALPN is what a sidecar's inbound listener offers, in its order of preference.
var serverALPN = []string{"h2", "http/1.1"}

// tlsConfig returns what a sidecar's inbound listener does: TLS 1.2 or 1.3, a client certificate of the mesh is
// demanded, and the protocol is chosen from what both sides know.
func (c *current) tlsConfig(maxVersion uint16, trusted []string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Go refuses a client whose protocols it knows none of. Envoy goes on without one, and Istio's clients
		// count on that: "istio" alone is never selected. So the choice is made here and Go gets its outcome.
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			id := c.held.Load()
			config := &tls.Config{
				MinVersion:   tls.VersionTLS12,
				MaxVersion:   maxVersion,
				Certificates: []tls.Certificate{id.Certificate},
				ClientAuth:   tls.RequireAndVerifyClientCert,
				ClientCAs:    id.Roots,
				VerifyConnection: func(s tls.ConnectionState) error {
					return checkClient(s.PeerCertificates, append([]string{id.trustDomain}, trusted...))
				},
				// A resumed session would skip nothing of the above, but a peer of tests should not remember.
				SessionTicketsDisabled: true,
			}
			if chosen, ok := chooseALPN(hello.SupportedProtos); ok {
				config.NextProtos = []string{chosen}
			}
			return config, nil
		},
	}
}

func chooseALPN(offered []string) (string, bool) {
	for _, p := range serverALPN {
		if slices.Contains(offered, p) {
			return p, true
		}
	}
	return "", false
}

func checkClient(chain []*x509.Certificate, trustDomains []string) error {
	if len(chain) == 0 {
		return fmt.Errorf("the client sent no certificate")
	}
	id, trustDomain, err := spiffeOf(chain[0])
	if err != nil {
		return fmt.Errorf("the client's certificate: %w", err)
	}
	if !slices.Contains(trustDomains, trustDomain) {
		return fmt.Errorf("client %s is of trust domain %s, expected one of %q", id, trustDomain, trustDomains)
	}
	return nil
}
