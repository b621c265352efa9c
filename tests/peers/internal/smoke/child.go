package smoke

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// child is another peers process, controlled like in a test: it writes events and ends when its input is closed.
type child struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Reader
	took  time.Duration
	ready event
}

// event contains the fields of ready events that the smoke test uses.
type event struct {
	Event    string `json:"event"`
	Address  string `json:"address"`
	RootCert string `json:"root_cert"`
	Listen   string `json:"listen"`
	SPIFFE   string `json:"spiffe"`
}

func spawn(stderr io.Writer, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{name: args[0], cmd: exec.Command(self, args...)}
	c.cmd.Stderr = stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.lines = bufio.NewReader(stdout)
	began := time.Now()
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := c.lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &c.ready)
	}
	if err == nil && c.ready.Event != "ready" {
		err = fmt.Errorf("first event is %q", c.ready.Event)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("peers %s: no ready event: %w", c.name, err), c.end())
	}
	c.took = time.Since(began)
	return c, nil
}

func (c *child) end() error {
	_ = c.stdin.Close()
	timer := time.AfterFunc(5*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("peers %s ended: %w", c.name, err)
	}
	return nil
}
