package workload

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// current contains the identity in use: handshakes read it, and renewals replace it.
type current struct {
	issuer *Issuer
	held   atomic.Pointer[Identity]
}

// obtain gets the first certificate, and retries while istiod is not available.
func (c *current) obtain(timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for {
		try, done := context.WithTimeout(ctx, 2*time.Second)
		id, err := c.issuer.Issue(try)
		done()
		if err == nil {
			c.held.Store(id)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no certificate within %s: %w", timeout, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// renew replaces the certificate after half of its lifetime, counted from now because NotBefore is in the past.
func (c *current) renew() {
	for {
		time.Sleep(max(time.Until(c.held.Load().Certificate.Leaf.NotAfter)/2, time.Second))
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		id, err := c.issuer.Issue(ctx)
		cancel()
		if err != nil {
			fmt.Fprintf(os.Stderr, "peers workload: renewal failed, the old certificate stays in use: %v\n", err)
			continue
		}
		c.held.Store(id)
	}
}
