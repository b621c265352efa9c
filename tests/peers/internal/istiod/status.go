package istiod

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
)

// withStatusOf returns a copy of present with the status of given.
func withStatusOf(present, given runtime.Object) (runtime.Object, error) {
	merged, err := fieldsOf(present)
	if err != nil {
		return nil, err
	}
	update, err := fieldsOf(given)
	if err != nil {
		return nil, err
	}
	merged["status"] = update["status"]
	data, err := json.Marshal(merged)
	if err != nil {
		return nil, err
	}
	out := present.DeepCopyObject()
	if err := json.Unmarshal(data, out); err != nil {
		return nil, fmt.Errorf("decode %T with its new status: %w", present, err)
	}
	return out, nil
}

func fieldsOf(obj runtime.Object) (map[string]any, error) {
	data, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", obj, err)
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("decode %T: %w", obj, err)
	}
	return fields, nil
}
