package proxy

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"time"

	"sidestep/tests/peers/internal/wire"
)

// ready is the event of a gateway or sidecar that accepts connections.
type ready struct {
	Event     string     `json:"event"`
	Address   string     `json:"address"`
	Admin     string     `json:"admin"`
	Listeners []listener `json:"listeners"`
	Log       string     `json:"log"`
}

// GatewayMain is "peers gateway".
func GatewayMain(args []string) error {
	o := options{
		role: "router", namespace: "istio-system",
		serviceAccount: "istio-eastwestgateway-service-account", labels: "istio=eastwestgateway",
	}
	flags := flag.NewFlagSet("peers gateway", flag.ExitOnError)
	o.register(flags)
	wildcard := flags.Bool("allow-wildcard", false, "accept a listener on 0.0.0.0 (its port is then shared with every other gateway on this machine)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.network == "" {
		return errors.New("--network is required: the network whose pods the gateway reaches")
	}
	if err := o.complete(); err != nil {
		return err
	}
	r, err := start(&o, "ISTIO_META_REQUESTED_NETWORK_VIEW="+o.network)
	if err != nil {
		return err
	}
	var found listener
	var all []listener
	err = r.await(o.timeout, func() error {
		found, all, err = gatewayListener(r.admin, o.address, *wildcard)
		return err
	})
	if err != nil {
		r.stop()
		return fmt.Errorf("gateway %s: %w", o.address, err)
	}
	if err := wire.Send(ready{Event: "ready", Address: found.Address, Admin: r.admin.address, Listeners: all, Log: r.log}); err != nil {
		return err
	}
	return r.serve()
}

// gatewayListener returns the listener on the address of the gateway when it has filter chains and accepts connections.
func gatewayListener(a *admin, address string, wildcard bool) (listener, []listener, error) {
	all, err := a.listeners()
	if err != nil {
		return listener{}, nil, err
	}
	for _, l := range all {
		host, port, err := net.SplitHostPort(l.Address)
		if err != nil {
			continue
		}
		any := net.ParseIP(host).IsUnspecified()
		if any && !wildcard {
			return listener{}, nil, permanentError{fmt.Errorf(
				"listener %s is bound to every address of the machine: add \"bind: %s\" to the server of its Gateway object, or pass --allow-wildcard",
				l.Name, address)}
		}
		if host != address && !any {
			continue
		}
		if l.FilterChains == 0 {
			return listener{}, nil, fmt.Errorf("listener %s has no filter chains yet", l.Name)
		}
		l.Address = net.JoinHostPort(address, port)
		return l, all, accepts(l.Address)
	}
	return listener{}, nil, fmt.Errorf("no listener on %s among %d; is there a Gateway object whose selector matches the labels and whose server has \"bind: %s\"?",
		address, len(all), address)
}

func accepts(address string) error {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}
