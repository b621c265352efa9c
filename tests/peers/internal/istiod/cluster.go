package istiod

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubefake "k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"

	"sigs.k8s.io/gateway-api/pkg/consts"

	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/gvr"
	"istio.io/istio/pkg/kube"
)

// inMemory is the API of one Kubernetes cluster, in memory.
type inMemory struct {
	id     string
	client kube.CLIClient
	// mu makes the read, merge and write of one apply atomic with respect to other commands.
	mu sync.Mutex
}

// trackerOwner is the common interface of all generated fake clientsets.
type trackerOwner interface {
	Tracker() clienttesting.ObjectTracker
	PrependReactor(verb, resource string, reaction clienttesting.ReactionFunc)
}

// version numbers every write, so that watchers recognise updates as newer.
var version atomic.Int64

func newCluster(id string, tokens *tokenBook) (*inMemory, error) {
	c := &inMemory{id: id, client: kube.NewFakeClient()}
	if err := c.registerCRDs(); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", id, err)
	}
	kubeFake := c.client.Kube().(*kubefake.Clientset)
	kubeFake.PrependReactor("create", "tokenreviews", tokens.review(id))
	c.client.Istio().(trackerOwner).PrependReactor("update", "*", c.keepSpecOnStatusUpdate)
	return c, nil
}

// registerCRDs registers the custom resources with the client; without them istiod watches no Istio kinds.
func (c *inMemory) registerCRDs() error {
	resource := c.client.Metadata().(*metadatafake.FakeMetadataClient).Resource(gvr.CustomResourceDefinition)
	creator, ok := resource.(metadatafake.MetadataClient)
	if !ok {
		return fmt.Errorf("the in-memory metadata client (%T) cannot create CRDs: Istio's fake client changed", resource)
	}
	for _, s := range collections.PilotGatewayAPI().All() {
		r := s.GroupVersionResource()
		crd := &metav1.PartialObjectMetadata{
			TypeMeta: metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
			ObjectMeta: metav1.ObjectMeta{
				Name: r.Resource + "." + r.Group,
				// istiod ignores Gateway API kinds whose definition has no recent version.
				Annotations: map[string]string{consts.BundleVersionAnnotation: consts.BundleVersion},
			},
		}
		if _, err := creator.CreateFake(crd, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("register CRD %s: %w", crd.Name, err)
		}
	}
	return nil
}

// keepSpecOnStatusUpdate makes UpdateStatus change only the status, as an API server does. The in-memory client stores
// the whole object, and istiod sends the status of a WorkloadEntry without its spec.
func (c *inMemory) keepSpecOnStatusUpdate(action clienttesting.Action) (bool, runtime.Object, error) {
	update, ok := action.(clienttesting.UpdateAction)
	if !ok || action.GetSubresource() != "status" {
		return false, nil, nil
	}
	given, err := meta.Accessor(update.GetObject())
	if err != nil {
		return true, nil, err
	}
	tracker := c.client.Istio().(trackerOwner).Tracker()
	present, err := tracker.Get(action.GetResource(), action.GetNamespace(), given.GetName())
	if err != nil {
		return true, nil, err
	}
	merged, err := withStatusOf(present, update.GetObject())
	if err != nil {
		return true, nil, err
	}
	stamp(merged)
	return true, merged, tracker.Update(action.GetResource(), merged, action.GetNamespace())
}

// load applies every YAML file of a folder, in name order.
func (c *inMemory) load(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.y*ml"))
	if err != nil {
		return err
	}
	sort.Strings(files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("cluster %s: %w", c.id, err)
		}
		if _, err := c.apply(text); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

// apply creates or updates every object of a YAML text and returns their names.
func (c *inMemory) apply(text []byte) ([]string, error) {
	docs, err := parse(text)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var done []string
	for _, d := range docs {
		if err := c.applyOne(d); err != nil {
			return done, err
		}
		done = append(done, d.String())
	}
	return done, nil
}

func (c *inMemory) applyOne(d document) error {
	tracker := c.tracker(d.group)
	present, err := tracker.Get(d.gvr, d.namespace, d.name)
	switch {
	case err == nil:
		if err := d.mergeFrom(present); err != nil {
			return err
		}
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("look up %s in cluster %s: %w", d, c.id, err)
	}
	obj, decodeErr := d.object()
	if decodeErr != nil {
		return decodeErr
	}
	stamp(obj)
	if err == nil {
		err = tracker.Update(d.gvr, obj, d.namespace)
	} else {
		err = tracker.Create(d.gvr, obj, d.namespace)
	}
	if err != nil {
		return fmt.Errorf("write %s to cluster %s: %w", d, c.id, err)
	}
	return nil
}

// remove deletes every object of a YAML text by kind, namespace and name.
func (c *inMemory) remove(text []byte) ([]string, error) {
	docs, err := parse(text)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var done []string
	for _, d := range docs {
		if err := c.tracker(d.group).Delete(d.gvr, d.namespace, d.name); err != nil {
			return done, fmt.Errorf("delete %s from cluster %s: %w", d, c.id, err)
		}
		done = append(done, d.String())
	}
	return done, nil
}

// get returns the object that one document names, as istiod and its controllers see it now.
func (c *inMemory) get(text []byte) ([]runtime.Object, error) {
	docs, err := parse(text)
	if err != nil {
		return nil, err
	}
	var found []runtime.Object
	for _, d := range docs {
		obj, err := c.tracker(d.group).Get(d.gvr, d.namespace, d.name)
		if err != nil {
			return nil, fmt.Errorf("get %s from cluster %s: %w", d, c.id, err)
		}
		found = append(found, obj)
	}
	return found, nil
}

// tracker returns the store of the client that istiod watches for this API group.
func (c *inMemory) tracker(group string) clienttesting.ObjectTracker {
	var owner any
	switch {
	case strings.HasSuffix(group, "istio.io"):
		owner = c.client.Istio()
	case strings.HasPrefix(group, "inference.networking."):
		owner = c.client.GatewayAPIInference()
	case isGatewayAPI(group):
		owner = c.client.GatewayAPI()
	default:
		owner = c.client.Kube()
	}
	return withoutFieldManager(owner.(trackerOwner).Tracker())
}

// withoutFieldManager returns the store behind a tracker that records managed fields, which is slow and unnecessary
// here.
func withoutFieldManager(tracker clienttesting.ObjectTracker) clienttesting.ObjectTracker {
	if v := reflect.Indirect(reflect.ValueOf(tracker)); v.Kind() == reflect.Struct {
		if field := v.FieldByName("ObjectTracker"); field.IsValid() {
			if plain, ok := field.Interface().(clienttesting.ObjectTracker); ok {
				return plain
			}
		}
	}
	return tracker
}

func stamp(obj runtime.Object) {
	if m, err := meta.Accessor(obj); err == nil {
		n := version.Add(1)
		m.SetResourceVersion(strconv.FormatInt(n, 10))
		m.SetGeneration(n)
	}
}
