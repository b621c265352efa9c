package istiod

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"time"

	"sidestep/tests/peers/internal/early"
)

// Mint returns an unsigned service account token that the TokenReview of this package accepts.
func Mint(namespace, serviceAccount string, audiences []string, lifetime time.Duration) (string, error) {
	aud, err := json.Marshal(audiences)
	if err != nil {
		return "", err
	}
	now := time.Now()
	payload, err := json.Marshal(map[string]any{
		"iss": "https://kubernetes.default.svc.cluster.local",
		"sub": "system:serviceaccount:" + namespace + ":" + serviceAccount,
		"aud": json.RawMessage(aud),
		"iat": now.Unix(),
		"exp": now.Add(lifetime).Unix(),
	})
	if err != nil {
		return "", err
	}
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + part(payload) + "." + part([]byte("unsigned")), nil
}

// TokenMain is "peers token": it prints one token.
func TokenMain(args []string) error {
	flags := flag.NewFlagSet("peers token", flag.ExitOnError)
	namespace := flags.String("namespace", "", "namespace of the service account")
	account := flags.String("service-account", "", "name of the service account")
	audience := flags.String("audience", "istio-ca", "audience of the token")
	lifetime := flags.Duration("lifetime", time.Hour, "lifetime of the token; a negative one creates an expired token")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *namespace == "" || *account == "" {
		return errors.New("--namespace and --service-account are required")
	}
	token, err := Mint(*namespace, *account, []string{*audience}, *lifetime)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(early.Events, token)
	return err
}
