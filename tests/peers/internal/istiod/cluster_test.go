package istiod

import (
	"context"
	"strings"
	"testing"

	meta "istio.io/api/meta/v1alpha1"
	clientnetworking "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func testCluster(t *testing.T) *inMemory {
	t.Helper()
	c, err := newCluster("cluster1", newTokenBook())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func apply(t *testing.T, c *inMemory, yaml string) {
	t.Helper()
	if _, err := c.apply([]byte(yaml)); err != nil {
		t.Fatal(err)
	}
}

const entry = `
apiVersion: networking.istio.io/v1alpha3
kind: WorkloadEntry
metadata: {name: vm, namespace: legacy}
spec: {address: 1.2.3.4}
`

// Istio watches one version of each kind; the YAML may use any version.
func TestVersionsAreConverted(t *testing.T) {
	c := testCluster(t)
	apply(t, c, entry)
	found, err := c.client.Istio().NetworkingV1().WorkloadEntries("legacy").Get(context.Background(), "vm", metav1.GetOptions{})
	if err != nil || found.Spec.Address != "1.2.3.4" {
		t.Fatalf("%v, %v", found, err)
	}
}

func TestStatusAndSpecAreKept(t *testing.T) {
	c := testCluster(t)
	ctx := context.Background()
	entries := c.client.Istio().NetworkingV1().WorkloadEntries("legacy")
	apply(t, c, entry)
	// istiod's health controller sends only the status.
	_, err := entries.UpdateStatus(ctx, &clientnetworking.WorkloadEntry{
		ObjectMeta: metav1.ObjectMeta{Name: "vm", Namespace: "legacy"},
		Status:     meta.IstioStatus{Conditions: []*meta.IstioCondition{{Type: "Healthy", Status: "True"}}},
	}, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, c, strings.Replace(entry, "1.2.3.4", "1.2.3.5", 1))
	found, err := entries.Get(ctx, "vm", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if found.Spec.Address != "1.2.3.5" || len(found.Status.Conditions) != 1 {
		t.Fatalf("spec %v, status %v", &found.Spec, &found.Status)
	}
}

func TestGatewaysOfBothKinds(t *testing.T) {
	c := testCluster(t)
	apply(t, c, `
apiVersion: networking.istio.io/v1beta1
kind: Gateway
metadata: {name: a}
spec:
  selector: {istio: eastwestgateway}
  servers: [{port: {number: 15443, name: tls, protocol: TLS}, tls: {mode: AUTO_PASSTHROUGH}, hosts: ["*.local"]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: b}
spec:
  gatewayClassName: istio
  listeners: [{name: tls, port: 15443, protocol: TLS, tls: {mode: Passthrough}}]
`)
	ctx := context.Background()
	if _, err := c.client.Istio().NetworkingV1().Gateways("default").Get(ctx, "a", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := c.client.GatewayAPI().GatewayV1().Gateways("default").Get(ctx, "b", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	c := testCluster(t)
	for yaml, want := range map[string]string{
		"apiVersion: v1\nkind: Service\nmetadata: {}":                                                                     "metadata.name",
		"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {prots: []}":                                           `Service default/a`,
		"apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a}\nspec: {servrs: []}":                      `unknown field "servrs"`,
		"apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a}\nspec: {hosts: [a], addresses: [x]}": `ServiceEntry default/a`,
		"- a": "not a YAML mapping",
	} {
		if _, err := c.apply([]byte(yaml)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, expected one with %q", yaml, err, want)
		}
	}
	if _, err := c.remove([]byte(entry)); err == nil {
		t.Error("deleting a missing object succeeded")
	}
}
