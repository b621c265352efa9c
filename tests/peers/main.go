// Command peers runs the real counterparts of Sidestep on one machine, without Kubernetes: istiod, Istio's agent with
// Envoy as an east-west gateway or a sidecar, and mTLS workloads.
package main

import (
	"fmt"
	"os"

	"sidestep/tests/peers/internal/early"
	"sidestep/tests/peers/internal/istiod"
	"sidestep/tests/peers/internal/proxy"
	"sidestep/tests/peers/internal/smoke"
	"sidestep/tests/peers/internal/workload"
)

const usage = `usage: peers COMMAND [flags]

  istiod    a real istiod with in-memory clusters from YAML
  gateway   an east-west gateway: Istio's agent and Envoy
  sidecar   a sidecar in front of a local HTTP app: Istio's agent and Envoy
  workload  an mTLS server with a certificate of the mesh, like an app with a sidecar
  token     print a service account token that peers istiod accepts
  smoke     start a two-network mesh and call through its gateway
  agent     Istio's agent itself (gateway and sidecar start it)

"peers COMMAND -h" lists the flags. tests/peers/README.md describes the line protocol.
`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	command, args := os.Args[1], os.Args[2:]
	var err error
	switch command {
	case "istiod":
		err = istiod.Main(args)
	case "agent":
		err = proxy.AgentMain(args)
	case "gateway":
		err = proxy.GatewayMain(args)
	case "sidecar":
		err = proxy.SidecarMain(args)
	case "workload":
		err = workload.Main(args)
	case "token":
		err = istiod.TokenMain(args)
	case "smoke":
		err = smoke.Main(tour, args)
	case "-h", "--help", "help":
		_, err = fmt.Fprint(early.Events, usage)
	default:
		err = fmt.Errorf("unknown command %q; run \"peers help\" for the list", command)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "peers %s: %v\n", command, err)
		os.Exit(1)
	}
}
