package workload

import (
	"bufio"
	"fmt"
	"net"
)

// serveLines answers each line with the name of the workload and the line, until the client closes its side.
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
