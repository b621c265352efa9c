package proxy

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// freePorts returns unused ports. They are below the ephemeral port range of Linux (from 32768), so that no outgoing
// connection uses one before Envoy binds it.
func freePorts(n int) ([]int, error) {
	const low, high = 20000, 32000
	var ports []int
	seen := map[int]bool{}
	for tries := 0; len(ports) < n; tries++ {
		if tries > 1000 {
			return nil, errors.New("no free ports between 20000 and 32000")
		}
		port := low + rand.IntN(high-low)
		if seen[port] || !free(port) {
			continue
		}
		seen[port] = true
		ports = append(ports, port)
	}
	return ports, nil
}

func free(port int) bool {
	l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}
