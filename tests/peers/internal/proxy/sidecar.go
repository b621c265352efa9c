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

	"sidestep/tests/peers/internal/wire"
)

// SidecarMain is "peers sidecar".
func SidecarMain(args []string) error {
	o := options{role: "sidecar"}
	flags := flag.NewFlagSet("peers sidecar", flag.ExitOnError)
	o.register(flags)
	port := flags.Int("port", 0, "port of the inbound listener on --address, from the ingress of the Sidecar object; ready waits for it")
	more := flags.String("wait", "", "further listeners that ready waits for, ADDRESS:PORT,…, such as outbound listeners of a client's sidecar")
	app := flags.String("app", "", "address of the plain HTTP app to start, from the defaultEndpoint of the ingress: 127.0.0.1:PORT or unix://PATH (default: start none)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var wanted []string
	if *port != 0 {
		wanted = append(wanted, net.JoinHostPort(o.address, strconv.Itoa(*port)))
	}
	if *more != "" {
		wanted = append(wanted, strings.Split(*more, ",")...)
	}
	if len(wanted) == 0 {
		return errors.New("--port or --wait is required: the listener that makes the sidecar ready")
	}
	if err := o.complete(); err != nil {
		return err
	}
	if *app != "" {
		if err := serveApp(*app, o.name); err != nil {
			return err
		}
	}
	// Traffic is not redirected here, so inbound traffic needs a Sidecar object that binds the address of the pod.
	r, err := start(&o, "ISTIO_META_INTERCEPTION_MODE=NONE")
	if err != nil {
		return err
	}
	var all []listener
	err = r.await(o.timeout, func() error {
		all, err = r.admin.listeners()
		if err != nil {
			return err
		}
		for _, address := range wanted {
			if err := listens(all, address); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.stop()
		return fmt.Errorf("sidecar %s: %w", o.address, err)
	}
	if err := wire.Send(ready{Event: "ready", Address: wanted[0], Admin: r.admin.address, Listeners: all, Log: r.log}); err != nil {
		return err
	}
	return r.serve()
}

func listens(all []listener, want string) error {
	for _, l := range all {
		if l.Address == want && l.FilterChains > 0 {
			return accepts(want)
		}
	}
	return fmt.Errorf("no listener on %s among %d; is there a Sidecar object whose workloadSelector matches the labels and whose ingress (or egress) binds it?",
		want, len(all))
}

// serveApp runs a plain application behind the sidecar, which reports the requests that it receives.
func serveApp(address, name string) error {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		network, address = "unix", path
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return fmt.Errorf("run the app behind the sidecar: %w", err)
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
	server := &http.Server{Handler: handler, Protocols: protocols}
	go func() { _ = server.Serve(l) }()
	return nil
}
