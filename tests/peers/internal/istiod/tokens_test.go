package istiod

import (
	"strings"
	"testing"
	"time"
)

func TestJudgeJWT(t *testing.T) {
	now := time.Now()
	mint := func(account string, audiences []string, life time.Duration) string {
		token, err := Mint("weather", account, audiences, life)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for _, c := range []struct {
		name, token, refusal string
	}{
		{"good", mint("forecast", []string{"istio-ca"}, time.Hour), ""},
		{"one of several audiences", mint("forecast", []string{"x", "istio-ca"}, time.Hour), ""},
		{"expired", mint("forecast", []string{"istio-ca"}, -time.Minute), "expired"},
		{"audience", mint("forecast", []string{"x"}, time.Hour), "contain none of"},
		{"no account", mint("", []string{"istio-ca"}, time.Hour), "not a service account"},
		{"opaque", "abc", "neither registered nor a JWT"},
		{"not base64", "a.%.c", "not base64url"},
	} {
		v, err := judgeJWT(c.token, []string{"istio-ca"}, now)
		switch {
		case c.refusal == "" && (err != nil || v.namespace != "weather" || v.serviceAccount != "forecast"):
			t.Errorf("%s: %+v, %v", c.name, v, err)
		case c.refusal != "" && (err == nil || !strings.Contains(err.Error(), c.refusal)):
			t.Errorf("%s: error %v, expected one with %q", c.name, err, c.refusal)
		}
	}
}

func TestAudienceMayBeAString(t *testing.T) {
	given, err := claims{Audience: []byte(`"istio-ca"`)}.audiences()
	if err != nil || len(given) != 1 || given[0] != "istio-ca" {
		t.Fatalf("%q, %v", given, err)
	}
}

func TestRegisteredTokensWin(t *testing.T) {
	book := newTokenBook()
	book.register("abc", verdict{namespace: "a", serviceAccount: "b"})
	if v, err := book.judge("abc", nil, time.Now()); err != nil || v.serviceAccount != "b" {
		t.Fatalf("%+v, %v", v, err)
	}
	book.register("abc", verdict{reject: "token expired"})
	if _, err := book.judge("abc", nil, time.Now()); err == nil || err.Error() != "token expired" {
		t.Fatalf("%v", err)
	}
}
