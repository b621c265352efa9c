package workload

import (
	"bufio"
	"fmt"
	"net"
)

// serveLines echoes each line with the workload's name before it, until the client ends its side.
func serveLines(name string, c net.Conn) {
	defer func() { _ = c.Close() }()
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if line != "" {
			if _, werr := fmt.Fprintf(c, "%s: %s", name, line); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
