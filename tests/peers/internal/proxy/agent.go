// Package proxy runs Istio's agent and Envoy as an east-west gateway or as a sidecar.
package proxy

import (
	"os"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pilot/cmd/pilot-agent/app"
	istioagent "istio.io/istio/pkg/istio-agent"
	"istio.io/istio/pkg/log"
	"istio.io/istio/pkg/security"
	"istio.io/istio/security/pkg/nodeagent/sds"
)

// AgentMain is "peers agent": Istio's pilot-agent. "peers agent proxy router" is the agent of a gateway.
func AgentMain(args []string) error {
	log.EnableKlogWithCobra()
	root := app.NewRootCommand(
		func(o *security.Options, cache security.SecretManager, key *meshconfig.PrivateKeyProvider) istioagent.SDSService {
			return sds.NewServer(o, cache, key)
		})
	root.SetArgs(args)
	os.Args = append([]string{"pilot-agent"}, args...)
	return root.Execute()
}
