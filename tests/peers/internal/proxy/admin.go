package proxy

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// admin is the admin interface of Envoy.
type admin struct {
	address string
	client  http.Client
}

func newAdmin(port int) *admin {
	return &admin{
		address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		// A separate transport ignores the proxy settings of the environment.
		client: http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{}},
	}
}

// listener is a listener that Envoy received from istiod.
type listener struct {
	Name         string   `json:"name"`
	Address      string   `json:"address"`
	FilterChains int      `json:"filter_chains"`
	ServerNames  []string `json:"server_names"`
}

// listeners returns the active listeners that istiod sent.
func (a *admin) listeners() ([]listener, error) {
	var dump struct {
		Configs []struct {
			Name        string `json:"name"`
			ActiveState *struct {
				Listener struct {
					Address struct {
						SocketAddress struct {
							Address   string `json:"address"`
							PortValue int    `json:"port_value"`
						} `json:"socket_address"`
					} `json:"address"`
					FilterChains []struct {
						Match struct {
							ServerNames []string `json:"server_names"`
						} `json:"filter_chain_match"`
					} `json:"filter_chains"`
				} `json:"listener"`
			} `json:"active_state"`
			ErrorState *struct {
				Details string `json:"details"`
			} `json:"error_state"`
		} `json:"configs"`
	}
	if err := a.get("/config_dump?resource=dynamic_listeners", &dump); err != nil {
		return nil, err
	}
	var found []listener
	for _, c := range dump.Configs {
		if c.ActiveState == nil {
			if c.ErrorState != nil {
				return nil, fmt.Errorf("Envoy rejected listener %s: %s", c.Name, c.ErrorState.Details)
			}
			continue
		}
		active := c.ActiveState.Listener
		socket := active.Address.SocketAddress
		l := listener{
			Name:         c.Name,
			Address:      net.JoinHostPort(socket.Address, strconv.Itoa(socket.PortValue)),
			FilterChains: len(active.FilterChains),
			ServerNames:  []string{},
		}
		for _, chain := range active.FilterChains {
			l.ServerNames = append(l.ServerNames, chain.Match.ServerNames...)
		}
		found = append(found, l)
	}
	return found, nil
}

func (a *admin) get(path string, into any) error {
	answer, err := a.client.Get("http://" + a.address + path)
	if err != nil {
		return fmt.Errorf("request to Envoy's admin interface: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("Envoy's admin interface responded with %s to %s", answer.Status, path)
	}
	return json.NewDecoder(answer.Body).Decode(into)
}
