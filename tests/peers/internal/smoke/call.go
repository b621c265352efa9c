package smoke

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/net/http2"

	"sidestep/tests/peers/internal/workload"
)

// call is one GET request through the gateway.
type call struct {
	alpn []string
	sni  string
	// works is whether the call is expected to succeed.
	works bool
}

// do connects, checks the identity of the peer, and sends a GET request.
func (c call) do(gateway string, id *workload.Identity) (seen string, err error) {
	config := &tls.Config{
		ServerName:   c.sni,
		NextProtos:   c.alpn,
		Certificates: []tls.Certificate{id.Certificate},
		MinVersion:   tls.VersionTLS12,
		// Mesh certificates contain no host name. The chain and the SPIFFE ID are checked below.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			return checkServer(s, id.Roots, "spiffe://cluster.local/ns/weather/sa/forecast")
		},
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	dialer := tls.Dialer{Config: config}
	conn, err := dialer.DialContext(ctx, "tcp", gateway)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://forecast.weather.svc.cluster.local:3002/today", nil)
	if err != nil {
		return "", err
	}
	return get(conn.(*tls.Conn), request)
}

// get uses the negotiated HTTP version, or HTTP/1.1 if none was negotiated.
func get(conn *tls.Conn, request *http.Request) (string, error) {
	answer, err := roundTrip(conn, request)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", answer.Status, body)
	}
	return string(body), nil
}

func roundTrip(conn *tls.Conn, request *http.Request) (*http.Response, error) {
	if conn.ConnectionState().NegotiatedProtocol == "h2" {
		client, err := (&http2.Transport{}).NewClientConn(conn)
		if err != nil {
			return nil, err
		}
		return client.RoundTrip(request)
	}
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReader(conn), request)
}

func checkServer(s tls.ConnectionState, roots *x509.CertPool, want string) error {
	intermediates := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		intermediates.AddCert(c)
	}
	leaf := s.PeerCertificates[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates}); err != nil {
		return err
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != want {
		return fmt.Errorf("the peer is %v, expected %s", leaf.URIs, want)
	}
	return nil
}
