// Package smoke starts a small mesh of real peers and calls a service through its gateway.
package smoke

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"sidestep/tests/peers/internal/early"
)

const forecastSNI = "outbound_.3002_._.forecast.weather.svc.cluster.local"

// Main is "peers smoke".
func Main(tour fs.FS, args []string) error {
	flags := flag.NewFlagSet("peers smoke", flag.ExitOnError)
	limit := flags.Duration("timeout", time.Minute, "timeout of the whole run")
	sidecar := flags.Bool("sidecar", false, "use a real sidecar in front of the app instead of a simulated one")
	verbose := flags.Bool("v", false, "show the logs of the peers")
	if err := flags.Parse(args); err != nil {
		return err
	}
	time.AfterFunc(*limit, func() {
		// The child processes end as well, because their inputs are closed.
		fmt.Fprintf(os.Stderr, "peers smoke: timed out after %s\n", *limit)
		os.Exit(1)
	})
	stderr := io.Discard
	if *verbose {
		stderr = io.Writer(os.Stderr)
	}
	m, err := newMesh(tour)
	if err != nil {
		return err
	}
	err = m.up(stderr, *sidecar)
	if err == nil {
		for _, c := range m.children {
			report("%-9s ready after %4d ms at %s", c.name, c.took.Milliseconds(), c.ready.Address+c.ready.Listen)
		}
		err = m.calls()
	}
	return errors.Join(err, m.down())
}

func (m *mesh) calls() error {
	issuer, err := m.vm()
	if err != nil {
		return err
	}
	began := time.Now()
	id, err := issuer.Issue(context.Background())
	if err != nil {
		return err
	}
	report("certificate after %d ms: %s", time.Since(began).Milliseconds(), id.SPIFFE)
	gateway := m.gateway.ready.Address
	var failed []error
	for _, c := range []call{
		{alpn: []string{"istio-http/1.1", "istio", "http/1.1"}, sni: forecastSNI, works: true},
		{alpn: []string{"istio-h2", "istio", "h2"}, sni: forecastSNI, works: true},
		{alpn: []string{"istio"}, sni: forecastSNI, works: true},
		{alpn: []string{"http/1.1"}, sni: forecastSNI},
		{alpn: []string{"istio"}, sni: "outbound_.3003_._.forecast.weather.svc.cluster.local"},
	} {
		began := time.Now()
		seen, err := c.do(gateway, id)
		result := strings.TrimSpace(seen)
		if err != nil {
			result = err.Error()
		}
		report("GET through %s, ALPN %s, SNI %s: %d ms\n    %s", gateway, strings.Join(c.alpn, ","), c.sni, time.Since(began).Milliseconds(), result)
		if (err == nil) != c.works {
			failed = append(failed, fmt.Errorf("ALPN %v, SNI %s: success is %t, expected %t", c.alpn, c.sni, err == nil, c.works))
		}
	}
	return errors.Join(failed...)
}

func report(format string, args ...any) {
	_, _ = fmt.Fprintf(early.Events, format+"\n", args...)
}
