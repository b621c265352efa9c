package istiod

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/resource"
	"istio.io/istio/pkg/kube"
)

// document is one YAML document, converted to the API version that istiod watches.
type document struct {
	gvr       schema.GroupVersionResource
	group     string
	kind      string
	namespace string
	name      string
	fields    map[string]any
}

func (d document) String() string {
	if d.namespace == "" {
		return fmt.Sprintf("%s %s", d.kind, d.name)
	}
	return fmt.Sprintf("%s %s/%s", d.kind, d.namespace, d.name)
}

// parse splits a YAML text into documents. Empty documents are skipped, and a List is split into its items.
func parse(text []byte) ([]document, error) {
	var docs []document
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for n := 1; ; n++ {
		chunk, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		var fields map[string]any
		if err := yaml.Unmarshal(chunk, &fields); err != nil {
			return nil, fmt.Errorf("document %d is not a YAML mapping: %w", n, err)
		}
		if len(fields) == 0 {
			continue
		}
		items := []map[string]any{fields}
		if list, ok := fields["items"].([]any); ok && fields["kind"] == "List" {
			items = nil
			for _, item := range list {
				if m, ok := item.(map[string]any); ok {
					items = append(items, m)
				}
			}
		}
		for _, item := range items {
			d, err := newDocument(item)
			if err != nil {
				return nil, fmt.Errorf("document %d: %w", n, err)
			}
			docs = append(docs, d)
		}
	}
}

func newDocument(fields map[string]any) (document, error) {
	apiVersion, _ := fields["apiVersion"].(string)
	kind, _ := fields["kind"].(string)
	metadata, _ := fields["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	namespace, _ := metadata["namespace"].(string)
	if apiVersion == "" || kind == "" || name == "" {
		return document{}, fmt.Errorf("apiVersion %q, kind %q, metadata.name %q: all three are required", apiVersion, kind, name)
	}
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return document{}, fmt.Errorf("%s %s: %w", kind, name, err)
	}
	gvr, version, namespaced := schema.GroupVersionResource{}, gv.Version, namespace != ""
	if s, ok := schemaOf(gv.Group, kind); ok {
		gvr, version, namespaced = s.GroupVersionResource(), s.Version(), !s.IsClusterScoped()
		gvr.Group = gv.Group // Istio's table uses "core" for the empty group of Kubernetes.
	} else {
		gvr, _ = meta.UnsafeGuessKindToResource(gv.WithKind(kind))
	}
	// Istio serves most kinds in several versions and watches only one. This converts versions, as a real API server
	// does.
	fields["apiVersion"] = schema.GroupVersion{Group: gv.Group, Version: version}.String()
	switch {
	case !namespaced:
		namespace = ""
		delete(metadata, "namespace")
	case namespace == "":
		namespace = "default"
		metadata["namespace"] = namespace
	}
	return document{gvr: gvr, group: gv.Group, kind: kind, namespace: namespace, name: name, fields: fields}, nil
}

// schemaOf looks up a kind in Istio's table, because the generic plural of Gateway ("gatewaies") is wrong.
func schemaOf(group, kind string) (resource.Schema, bool) {
	for _, s := range collections.All.All() {
		if s.Kind() == kind && (s.Group() == group || s.Group() == "core" && group == "") {
			return s, true
		}
	}
	return nil, false
}

// strict rejects unknown fields. kubectl requests the same from the API server.
var strict = serializer.NewCodecFactory(kube.IstioScheme, serializer.EnableStrict).UniversalDeserializer()

// object decodes the document into the typed object that the in-memory clients store.
func (d document) object() (runtime.Object, error) {
	data, err := json.Marshal(d.fields)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	obj, _, err := strict.Decode(data, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	if err := d.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return obj, nil
}

// validate validates Istio kinds as istiod's admission webhook does, because their decoder accepts unknown fields.
func (d document) validate() error {
	s, known := schemaOf(d.group, d.kind)
	fields, given := d.fields["spec"]
	if !known || !given || !strings.HasSuffix(d.group, "istio.io") {
		return nil
	}
	spec, err := s.NewInstance()
	if err != nil {
		return err
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	if err := config.ApplyJSONStrict(spec, string(data)); err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	_, err = s.ValidateConfig(config.Config{
		Meta: config.Meta{GroupVersionKind: s.GroupVersionKind(), Namespace: d.namespace, Name: d.name},
		Spec: spec,
	})
	return err
}

// mergeFrom keeps the parts that the new document omits: the status that a controller wrote (allocated addresses of a
// ServiceEntry) if only the spec changes, and the spec if only the status is given.
func (d document) mergeFrom(old runtime.Object) error {
	data, err := json.Marshal(old)
	if err != nil {
		return fmt.Errorf("%s: read the existing object: %w", d, err)
	}
	var present map[string]any
	if err := json.Unmarshal(data, &present); err != nil {
		return fmt.Errorf("%s: read the existing object: %w", d, err)
	}
	for _, part := range []string{"spec", "status"} {
		if _, given := d.fields[part]; given {
			continue
		}
		if kept, ok := present[part]; ok {
			d.fields[part] = kept
		}
	}
	return nil
}

func isGatewayAPI(group string) bool {
	return strings.HasPrefix(group, "gateway.networking.")
}
