package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// fakeAdmin is an admin interface with one listener.
func fakeAdmin(t *testing.T, address string, port int, chains string) *admin {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"configs":[{"name":"l","active_state":{"listener":{"address":{"socket_address":`+
			`{"address":%q,"port_value":%d}},"filter_chains":%s}}},{"name":"warming"}]}`, address, port, chains)
	}))
	t.Cleanup(s.Close)
	return &admin{address: strings.TrimPrefix(s.URL, "http://")}
}

func TestGatewayListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	port := l.Addr().(*net.TCPAddr).Port
	const chains = `[{"filter_chain_match":{"server_names":["outbound_.1_._.a"]}}]`

	found, _, err := gatewayListener(fakeAdmin(t, "127.0.0.1", port, chains), "127.0.0.1", false)
	if err != nil || found.Address != l.Addr().String() || found.ServerNames[0] != "outbound_.1_._.a" {
		t.Errorf("ready: %+v, %v", found, err)
	}
	_, _, err = gatewayListener(fakeAdmin(t, "127.0.0.1", port, "[]"), "127.0.0.1", false)
	if err == nil || !strings.Contains(err.Error(), "no filter chains") {
		t.Errorf("no filter chains: %v", err)
	}
	_, _, err = gatewayListener(fakeAdmin(t, "127.0.0.9", port, chains), "127.0.0.1", false)
	if err == nil || errors.As(err, &permanentError{}) {
		t.Errorf("another address: %v", err)
	}
	_, _, err = gatewayListener(fakeAdmin(t, "0.0.0.0", port, chains), "127.0.0.1", false)
	if !errors.As(err, &permanentError{}) {
		t.Errorf("wildcard: %v", err)
	}
	if _, _, err = gatewayListener(fakeAdmin(t, "0.0.0.0", port, chains), "127.0.0.1", true); err != nil {
		t.Errorf("allowed wildcard: %v", err)
	}
}
