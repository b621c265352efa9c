package workload

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// answer is the JSON body: the server, and its view of the caller.
type answer struct {
	Name     string `json:"name"`
	SPIFFE   string `json:"spiffe"`
	Client   string `json:"client"`
	SNI      string `json:"sni"`
	ALPN     string `json:"alpn"`
	TLS      string `json:"tls"`
	Protocol string `json:"protocol"`
	Method   string `json:"method"`
	Host     string `json:"host"`
	Path     string `json:"path"`
	Body     int64  `json:"body_bytes"`
}

type peerKey struct{}

// httpApp serves HTTP/1.1 and HTTP/2 on connections after their handshake.
type httpApp struct {
	name   string
	ids    *current
	h1     *http.Server
	h2     http2.Server
	h1Conn chan net.Conn
	addr   net.Addr
}

func newHTTPApp(name string, ids *current, addr net.Addr) *httpApp {
	a := &httpApp{name: name, ids: ids, h1Conn: make(chan net.Conn), addr: addr}
	rpc := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(rpc, health.NewServer())
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Peer-Name", name)
		switch {
		case strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc"):
			rpc.ServeHTTP(w, r)
		case r.URL.Path == "/echo":
			_, _ = io.Copy(w, r.Body)
		case strings.HasPrefix(r.URL.Path, "/bytes/"):
			sendBytes(w, strings.TrimPrefix(r.URL.Path, "/bytes/"))
		default:
			a.describe(w, r)
		}
	})
	a.h1 = &http.Server{
		Handler: handler,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, c.(*peekedConn).peer)
		},
	}
	go func() { _ = a.h1.Serve(a) }()
	return a
}

// serve takes over one connection. If no protocol was negotiated, it detects it from the first bytes, as Envoy does: a
// client that offers only "istio" may use either version.
func (a *httpApp) serve(c net.Conn, p peer) {
	conn := &peekedConn{Conn: c, r: bufio.NewReader(c), peer: p}
	h2 := p.alpn == "h2"
	if p.alpn == "" {
		first, _ := conn.r.Peek(len(http2.ClientPreface))
		h2 = string(first) == http2.ClientPreface
	}
	if !h2 {
		a.h1Conn <- conn
		return
	}
	a.h2.ServeConn(conn, &http2.ServeConnOpts{
		Context:    context.WithValue(context.Background(), peerKey{}, p),
		Handler:    a.h1.Handler,
		BaseConfig: &http.Server{},
	})
}

func (a *httpApp) describe(w http.ResponseWriter, r *http.Request) {
	n, _ := io.Copy(io.Discard, r.Body)
	p, _ := r.Context().Value(peerKey{}).(peer)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer{
		Name: a.name, SPIFFE: a.ids.held.Load().SPIFFE, Client: p.spiffe, SNI: p.sni, ALPN: p.alpn, TLS: p.version,
		Protocol: r.Proto, Method: r.Method, Host: r.Host, Path: r.URL.Path, Body: n,
	})
}

func sendBytes(w http.ResponseWriter, count string) {
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 {
		http.Error(w, "/bytes/N requires a number", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", count)
	chunk := []byte(strings.Repeat("x", 16<<10))
	for n > 0 {
		part := min(n, len(chunk))
		if _, err := w.Write(chunk[:part]); err != nil {
			return
		}
		n -= part
	}
}

// The HTTP/1.1 server receives its connections through the net.Listener interface.

// Accept waits for the next HTTP/1.1 connection.
func (a *httpApp) Accept() (net.Conn, error) {
	c, ok := <-a.h1Conn
	if !ok {
		return nil, errors.New("closed")
	}
	return c, nil
}

// Close does nothing: the process ends instead.
func (a *httpApp) Close() error { return nil }

// Addr is the address of the real listener.
func (a *httpApp) Addr() net.Addr { return a.addr }

// peekedConn is a connection whose first bytes have been read.
type peekedConn struct {
	net.Conn
	r    *bufio.Reader
	peer peer
}

func (c *peekedConn) Read(p []byte) (int, error) { return c.r.Read(p) }
