package istiod

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"sidestep/tests/peers/internal/wire"
)

// command is one line of standard input.
type command struct {
	ID      json.RawMessage `json:"id"`
	Op      string          `json:"op"`
	Cluster string          `json:"cluster"`
	YAML    string          `json:"yaml"`

	Token          string `json:"token"`
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"service_account"`
	Reject         string `json:"reject"`
}

// reply is the reply to a command, with the id of the command; ok is false if error is set.
type reply struct {
	Event   string          `json:"event"`
	ID      json.RawMessage `json:"id,omitempty"`
	OK      bool            `json:"ok"`
	Error   string          `json:"error,omitempty"`
	Objects []string        `json:"objects,omitempty"`
	Found   any             `json:"found,omitempty"`
}

// controller runs commands against the clusters of one istiod.
type controller struct {
	clusters map[string]*inMemory
	primary  string
	tokens   *tokenBook
}

func (c *controller) handle(line []byte) {
	var cmd command
	answer := reply{Event: "reply"}
	err := json.Unmarshal(line, &cmd)
	if err == nil {
		answer.ID = cmd.ID
		err = c.run(cmd, &answer)
	} else {
		err = fmt.Errorf("the command is not a JSON object of the protocol: %w", err)
	}
	answer.OK = err == nil
	if err != nil {
		answer.Error = err.Error()
	}
	// If the caller no longer reads, it has ended, and the end of standard input follows.
	_ = wire.Send(answer)
}

func (c *controller) run(cmd command, answer *reply) error {
	if cmd.Op == "token" {
		return c.token(cmd)
	}
	id := cmd.Cluster
	if id == "" {
		id = c.primary
	}
	target, ok := c.clusters[id]
	if !ok {
		return fmt.Errorf("unknown cluster %q; this istiod has %q", id, slices.Sorted(maps.Keys(c.clusters)))
	}
	var err error
	switch cmd.Op {
	case "apply":
		answer.Objects, err = target.apply([]byte(cmd.YAML))
	case "delete":
		answer.Objects, err = target.remove([]byte(cmd.YAML))
	case "get":
		answer.Found, err = target.get([]byte(cmd.YAML))
	default:
		return fmt.Errorf("unknown op %q; use apply, delete, get or token", cmd.Op)
	}
	return err
}

func (c *controller) token(cmd command) error {
	if cmd.Token == "" {
		return errors.New("op token requires the field token")
	}
	if cmd.Reject == "" && (cmd.Namespace == "" || cmd.ServiceAccount == "") {
		return errors.New("op token requires namespace and service_account, or reject")
	}
	c.tokens.register(cmd.Token, verdict{namespace: cmd.Namespace, serviceAccount: cmd.ServiceAccount, reject: cmd.Reject})
	return nil
}
