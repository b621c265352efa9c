package istiod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The self-signed CA is stored in a Secret of the primary cluster. In a real cluster it survives a restart of istiod.
// Here the cluster ends with the process, so the Secret is stored in a file in DIR/run.
const caSecretName = "istio-ca-secret"

func caSecretFile(dir string) string {
	return filepath.Join(dir, "run", caSecretName+".json")
}

func (c *inMemory) restoreCASecret(dir, namespace string) error {
	data, err := os.ReadFile(caSecretFile(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the stored CA: %w", err)
	}
	var secret corev1.Secret
	if err := json.Unmarshal(data, &secret); err != nil {
		return fmt.Errorf("%s is damaged, delete it to get a new CA: %w", caSecretFile(dir), err)
	}
	if _, err := c.client.Kube().CoreV1().Secrets(namespace).Create(context.Background(), &secret, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("restore the stored CA: %w", err)
	}
	return nil
}

func (c *inMemory) keepCASecret(dir, namespace string) error {
	secret, err := c.client.Kube().CoreV1().Secrets(namespace).Get(context.Background(), caSecretName, metav1.GetOptions{})
	if err != nil {
		// A plugged CA has no such Secret.
		return nil
	}
	data, err := json.Marshal(secret)
	if err != nil {
		return fmt.Errorf("encode the CA: %w", err)
	}
	if err := os.WriteFile(caSecretFile(dir), data, 0o600); err != nil {
		return fmt.Errorf("store the CA: %w", err)
	}
	return nil
}
