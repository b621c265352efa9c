// Package wire implements the line protocol of every peers command: one JSON object per line, events on standard
// output, commands on standard input. All other output of a process goes to standard error.
package wire

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"sidestep/tests/peers/internal/early"
)

var mu sync.Mutex

// Send writes one event. It is safe for concurrent use.
func Send(event any) error {
	line, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encode event %T: %w", event, err)
	}
	mu.Lock()
	defer mu.Unlock()
	_, err = early.Events.Write(append(line, '\n'))
	return err
}

// Lines calls f for each line of standard input and returns when it is closed. A caller ends a peer by closing its
// input, which also happens when the caller ends.
func Lines(f func(line []byte)) error {
	r := bufio.NewReader(os.Stdin)
	for {
		line, err := r.ReadBytes('\n')
		if len(line) > 1 {
			f(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
	}
}

// Closed returns a channel that is closed with standard input, for peers without commands.
func Closed() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	return done
}
