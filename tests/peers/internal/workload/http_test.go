package workload

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
)

func TestChooseALPN(t *testing.T) {
	for want, offered := range map[string][]string{
		"http/1.1": {"istio-http/1.1", "istio", "http/1.1"},
		"h2":       {"istio-h2", "istio", "http/1.1", "h2"},
		"":         {"istio"},
	} {
		if chosen, ok := chooseALPN(offered); chosen != want || ok != (want != "") {
			t.Errorf("%q: %q", offered, chosen)
		}
	}
}

// Both HTTP versions work on a connection without ALPN.
func TestBothVersionsWithoutALPN(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ids := &current{}
	ids.held.Store(&Identity{SPIFFE: "spiffe://td/ns/a/sa/b"})
	app := newHTTPApp("me", ids, l.Addr())
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go app.serve(c, peer{spiffe: "spiffe://td/ns/c/sa/d", sni: "x"})
		}
	}()
	for want, transport := range map[string]http.RoundTripper{
		"HTTP/1.1": &http.Transport{},
		"HTTP/2.0": &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}},
	} {
		client := http.Client{Transport: transport}
		got, err := client.Get("http://" + l.Addr().String() + "/p")
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		var a answer
		if err := json.NewDecoder(got.Body).Decode(&a); err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		_ = got.Body.Close()
		if a.Protocol != want || a.Name != "me" || a.Client != "spiffe://td/ns/c/sa/d" || a.SNI != "x" {
			t.Errorf("%s: %+v", want, a)
		}
	}
}
