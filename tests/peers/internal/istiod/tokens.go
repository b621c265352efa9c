package istiod

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
)

// verdict is the result of TokenReview for one token.
type verdict struct {
	namespace, serviceAccount string
	reject                    string
}

// tokenBook replaces the TokenReview of the API servers: first it looks up registered tokens, then it checks the claims
// of a JWT. It does not check signatures, so that tests can create tokens. Everything after it is istiod's code.
type tokenBook struct {
	mu    sync.Mutex
	known map[string]verdict
}

func newTokenBook() *tokenBook {
	return &tokenBook{known: map[string]verdict{}}
}

func (b *tokenBook) register(token string, v verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known[token] = v
}

// review is the reactor for one cluster, which responds like its API server.
func (b *tokenBook) review(clusterID string) clienttesting.ReactionFunc {
	return func(action clienttesting.Action) (bool, runtime.Object, error) {
		create, ok := action.(clienttesting.CreateAction)
		if !ok {
			return false, nil, nil
		}
		request, ok := create.GetObject().(*authv1.TokenReview)
		if !ok {
			return false, nil, nil
		}
		answer := request.DeepCopy()
		v, err := b.judge(request.Spec.Token, request.Spec.Audiences, time.Now())
		if err != nil {
			answer.Status = authv1.TokenReviewStatus{Error: fmt.Sprintf("cluster %s: %v", clusterID, err)}
			return true, answer, nil
		}
		answer.Status = authv1.TokenReviewStatus{
			Authenticated: true,
			Audiences:     request.Spec.Audiences,
			User: authv1.UserInfo{
				Username: "system:serviceaccount:" + v.namespace + ":" + v.serviceAccount,
				Groups: []string{
					"system:serviceaccounts",
					"system:serviceaccounts:" + v.namespace,
					"system:authenticated",
				},
			},
		}
		return true, answer, nil
	}
}

func (b *tokenBook) judge(token string, audiences []string, now time.Time) (verdict, error) {
	b.mu.Lock()
	v, known := b.known[token]
	b.mu.Unlock()
	if known {
		if v.reject != "" {
			return verdict{}, errors.New(v.reject)
		}
		return v, nil
	}
	return judgeJWT(token, audiences, now)
}

// claims are the claims that TokenReview checks.
type claims struct {
	Subject   string          `json:"sub"`
	Audience  json.RawMessage `json:"aud"`
	Expiry    float64         `json:"exp"`
	NotBefore float64         `json:"nbf,omitempty"`
}

func judgeJWT(token string, audiences []string, now time.Time) (verdict, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return verdict{}, errors.New("the token is neither registered nor a JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return verdict{}, fmt.Errorf("the token's payload is not base64url: %w", err)
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return verdict{}, fmt.Errorf("the token's payload is not JSON: %w", err)
	}
	if float64(now.Unix()) >= c.Expiry {
		return verdict{}, fmt.Errorf("the token expired at %s", time.Unix(int64(c.Expiry), 0).UTC().Format(time.RFC3339))
	}
	if float64(now.Unix()) < c.NotBefore {
		return verdict{}, errors.New("the token is not valid yet")
	}
	given, err := c.audiences()
	if err != nil {
		return verdict{}, err
	}
	if !slices.ContainsFunc(given, func(a string) bool { return slices.Contains(audiences, a) }) {
		return verdict{}, fmt.Errorf("the token's audiences %q contain none of %q", given, audiences)
	}
	rest, ok := strings.CutPrefix(c.Subject, "system:serviceaccount:")
	namespace, account, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 || namespace == "" || account == "" {
		return verdict{}, fmt.Errorf("the token's subject %q is not a service account", c.Subject)
	}
	return verdict{namespace: namespace, serviceAccount: account}, nil
}

// audiences accepts both forms of the claim: a string or an array.
func (c claims) audiences() ([]string, error) {
	var many []string
	if json.Unmarshal(c.Audience, &many) == nil {
		return many, nil
	}
	var one string
	if err := json.Unmarshal(c.Audience, &one); err != nil {
		return nil, fmt.Errorf("the token's aud claim %s is neither a string nor an array", c.Audience)
	}
	return []string{one}, nil
}
