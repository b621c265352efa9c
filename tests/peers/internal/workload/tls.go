package workload

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
)

// serverALPN contains the protocols of a sidecar's inbound listener, in order of preference.
var serverALPN = []string{"h2", "http/1.1"}

// tlsConfig returns the configuration of a sidecar's inbound listener: TLS 1.2 or 1.3, a required client certificate of
// the mesh, and a protocol that both sides support.
func (c *current) tlsConfig(maxVersion uint16, trusted []string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Go rejects a client without a common protocol. Envoy continues without a protocol, and Istio's clients rely
		// on that: "istio" is never selected. So the protocol is selected here, and Go gets the result.
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
				// Resumption would skip none of the checks, but peers in tests should not keep state.
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
		return fmt.Errorf("client %s belongs to trust domain %s, expected one of %q", id, trustDomain, trustDomains)
	}
	return nil
}
