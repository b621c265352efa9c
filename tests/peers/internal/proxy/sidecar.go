package proxy

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"go.sidestep.dev/peers/internal/wire"
)

// SidecarMain is "peers sidecar".
func SidecarMain(args []string) error {
	o := options{role: "sidecar"}
	flags := flag.NewFlagSet("peers sidecar", flag.ExitOnError)
	o.register(flags)
	port := flags.Int("port", 0, "port of the inbound listener, as the Sidecar object's ingress says")
	app := flags.String("app", "", "address of the plain HTTP app to start, as the ingress' defaultEndpoint says: 127.0.0.1:PORT or unix://PATH (default: none, the caller brings it)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *port == 0 {
		return errors.New("--port is needed: the port of the Sidecar object's ingress")
	}
	if err := o.complete(); err != nil {
		return err
	}
	if *app != "" {
		if err := serveApp(*app, o.name); err != nil {
			return err
		}
	}
	// Nothing redirects traffic here: inbound needs a Sidecar object that binds the pod's address.
	r, err := start(&o, "ISTIO_META_INTERCEPTION_MODE=NONE")
	if err != nil {
		return err
	}
	want := net.JoinHostPort(o.address, strconv.Itoa(*port))
	var all []listener
	err = r.await(o.timeout, func() error {
		all, err = r.admin.listeners()
		if err != nil {
			return err
		}
		return inboundReady(all, want)
	})
	if err != nil {
		r.stop()
		return fmt.Errorf("sidecar %s: %w", o.address, err)
	}
	if err := wire.Send(ready{Event: "ready", Address: want, Admin: r.admin.address, Listeners: all, Log: r.log}); err != nil {
		return err
	}
	return r.serve()
}

func inboundReady(all []listener, want string) error {
	for _, l := range all {
		if l.Address == want && l.FilterChains > 0 {
			return accepts(want)
		}
	}
	return fmt.Errorf("no listener on %s among %d; is there a Sidecar object whose workloadSelector matches the labels and whose ingress binds it?",
		want, len(all))
}

// serveApp is the app behind the sidecar: it knows nothing of the mesh and says what reached it.
func serveApp(address, name string) error {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		network, address = "unix", path
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return fmt.Errorf("the app behind the sidecar: %w", err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"name": name, "protocol": r.Proto, "method": r.Method, "host": r.Host, "path": r.URL.Path,
			"client_cert": r.Header.Get("X-Forwarded-Client-Cert"),
		})
	})
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: handler, Protocols: protocols} //nolint:gosec // a peer of tests needs no timeouts
	go func() { _ = server.Serve(l) }()
	return nil
}
